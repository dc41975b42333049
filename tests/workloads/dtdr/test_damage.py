"""Damage to encoded tensors and files: how much, where, and what checksums know of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.dtdr.asking import Damage
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import EncodedTensor, encode_tensor
from workloads.dtdr.damage import XOR, damage_file, damaged, damaged_codes
from workloads.dtdr.files.checksums import raw_bytes
from workloads.errors import InputError

RECIPES = [
    Recipe("hadamard", "row", 16),
    Recipe("hadamard", "block", 16),
    Recipe("dct", "minmax", 16),
    Recipe("none", "none", 16),
]


def encoded(recipe: Recipe, rows: int = 200, columns: int = 72, name: str = "w") -> EncodedTensor:
    stream = torch.Generator().manual_seed(0)
    return encode_tensor(name, torch.randn(rows, columns, generator=stream), recipe)


def content(tensor: EncodedTensor) -> np.ndarray:
    parts = [
        np.frombuffer(raw_bytes(tensor.parts[name]), np.uint8) for name in sorted(tensor.parts)
    ]
    return np.concatenate(parts)


def changed_bits(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.unpackbits(a ^ b).sum())


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("how", ["bits", "bytes"])
@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0])
def test_as_much_is_damaged_as_was_asked(recipe: Recipe, how: Damage, rate: float) -> None:
    tensor = encoded(recipe)
    found = damaged(tensor, how, rate, draw=1)
    before, after = content(tensor), content(found.encoded)
    if how == "bytes":
        assert set((before ^ after).tolist()) <= {0, XOR}
        hit, total = int((before != after).sum()), len(before)
    else:
        hit, total = changed_bits(before, after), 8 * len(before)
    assert hit == found.hits
    assert abs(hit - rate * total) <= 5 * (rate * (1 - rate) * total) ** 0.5
    assert found.missing_blocks == ()


def test_every_byte_is_hit_as_often_as_another() -> None:
    """Over many draws each byte's count is as a coin's: no place is spared, none is favoured."""
    tensor = encoded(Recipe("none", "row", 4), rows=8, columns=30)
    before = content(tensor)
    draws, rate = 1000, 0.1
    counts = np.zeros(len(before))
    for draw in range(draws):
        counts += before != content(damaged(tensor, "bytes", rate, draw).encoded)
    z = (counts - draws * rate) / (draws * rate * (1 - rate)) ** 0.5
    assert np.abs(z).max() < 5
    assert 0.7 < (z**2).mean() < 1.3


def test_damage_depends_on_draw_and_name_alone() -> None:
    recipe = Recipe("hadamard", "row", 16)
    tensor = encoded(recipe)
    once = content(damaged(tensor, "bits", 0.01, 3).encoded)
    damaged(encoded(recipe, name="other"), "bits", 0.5, 7)
    assert np.array_equal(once, content(damaged(tensor, "bits", 0.01, 3).encoded))
    assert not np.array_equal(once, content(damaged(tensor, "bits", 0.01, 4).encoded))
    elsewhere = damaged(encoded(recipe, name="other"), "bits", 0.01, 3).encoded
    assert not np.array_equal(once, content(elsewhere))


def test_the_original_stays_as_it_is() -> None:
    tensor = encoded(RECIPES[0])
    before = content(tensor).copy()
    damaged(tensor, "bytes", 0.5, 0)
    assert np.array_equal(before, content(tensor))


def test_codes_alone_are_hit_where_codes_are_asked() -> None:
    tensor = encoded(RECIPES[1])
    found = damaged(tensor, "codes", 0.02, 0, checksums=True)
    assert torch.equal(found.encoded.parts["scale"], tensor.parts["scale"])
    assert found.hits == int((found.encoded.parts["codes"] != tensor.parts["codes"]).sum()) > 0
    assert found.missing_blocks
    with pytest.raises(InputError, match="w has no codes but the numbers themselves"):
        damaged(encoded(RECIPES[3]), "codes", 0.02, 0)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_the_error_of_wrong_codes_grows_with_the_root_of_their_rate(rate: float) -> None:
    """Wrong codes are independent errors: their squares add up."""
    tensor = encoded(Recipe("hadamard", "row", 64), 512, 512)
    whole = tensor.decoded()
    found = damaged(tensor, "codes", rate, 0).encoded.decoded()
    error = float((found - whole).norm() / whole.norm())
    assert error / rate**0.5 == pytest.approx(1.9, rel=0.15)


def test_damaged_codes_keep_their_scales() -> None:
    tensor = encoded(RECIPES[0])
    found = damaged_codes(tensor, 0.01, 0)
    assert torch.equal(found.parts["scale"], tensor.parts["scale"])
    hits = int((found.parts["codes"] != tensor.parts["codes"]).sum())
    total = tensor.rows * tensor.columns
    assert abs(hits - 0.01 * total) < 5 * (0.01 * total) ** 0.5
    plain = encode_tensor("norm", torch.ones(64), RECIPES[0])
    assert damaged_codes(plain, 1.0, 0) is plain


def test_no_damage_gives_the_same_tensor() -> None:
    tensor = encoded(RECIPES[0])
    assert damaged(tensor, "bits", 0.0, 0, checksums=True).encoded is tensor


def test_a_plain_tensor_is_always_whole() -> None:
    tensor = encode_tensor("norm", torch.ones(64), RECIPES[0])
    assert tensor.plain
    assert damaged(tensor, "bytes", 1.0, 0).encoded is tensor


@settings(max_examples=60, deadline=None)
@given(
    recipe=st.sampled_from(RECIPES),
    rows=st.integers(1, 70),
    columns=st.integers(1, 40),
    how=st.sampled_from(["bits", "bytes"]),
    rate=st.sampled_from([1e-4, 1e-3, 1e-2]),
    draw=st.integers(0, 1000),
)
def test_checksums_find_the_blocks_that_are_damaged_and_no_others(
    recipe: Recipe, rows: int, columns: int, how: Damage, rate: float, draw: int
) -> None:
    tensor = encoded(recipe, rows, columns)
    found = damaged(tensor, how, rate, draw, checksums=True)
    differs = {
        block
        for block, chosen in enumerate(tensor.block_slices())
        for name, part in tensor.parts.items()
        for share in [chosen if len(part) == tensor.rows else slice(block, block + 1)]
        if raw_bytes(part[share]) != raw_bytes(found.encoded.parts[name][share])
    }
    assert set(found.missing_blocks) == differs
    clean = [b for b in range(tensor.blocks) if b not in differs]
    for block in clean:
        chosen = tensor.block_slices()[block]
        assert torch.equal(tensor.decoded(chosen), found.encoded.decoded(chosen))


def test_numbers_that_damage_made_infinite_are_counted() -> None:
    tensor = encode_tensor("w", torch.full((32, 32), 1e-30), Recipe("none", "none", 8))
    values = tensor.parts["values"].clone()
    values[0, 0], values[9, 3] = float("inf"), float("nan")
    found = damaged(tensor, "bytes", 1.0, 0)
    assert found.non_finite() == int((~torch.isfinite(found.encoded.decoded())).sum())
    spoiled = EncodedTensor("w", tensor.shape, tensor.dtype, tensor.recipe, {"values": values})
    after = damaged(spoiled, "bits", 1e-4, 0, checksums=True)
    expected = sum(
        int((~torch.isfinite(after.encoded.decoded(rows))).sum())
        for block, rows in enumerate(spoiled.block_slices())
        if block not in after.missing_blocks
    )
    assert after.non_finite() == expected


def test_bits_of_floats_come_out_infinite_and_are_told() -> None:
    tensor = encoded(Recipe("none", "none", 16))
    found = damaged(tensor, "bits", 0.5, 0)
    assert found.non_finite() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_type_are_damaged(dtype: torch.dtype) -> None:
    tensor = encode_tensor("w", torch.ones(30, 30, dtype=dtype), Recipe("none", "none", 8))
    found = damaged(tensor, "bytes", 0.01, 0)
    assert found.hits == int((content(tensor) != content(found.encoded)).sum()) > 0


@pytest.mark.parametrize("how", ["bits", "bytes"])
def test_a_file_is_damaged_at_its_rate_from_a_byte_on(how: Damage, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    before = np.random.default_rng(0).integers(0, 256, 200_000).astype(np.uint8)
    path.write_bytes(before.tobytes())
    hits = damage_file(path, 0.01, how, seed=0, start=1000)
    after = np.frombuffer(path.read_bytes(), np.uint8)
    assert np.array_equal(before[:1000], after[:1000])
    total = 199_000 * (8 if how == "bits" else 1)
    assert hits == (changed_bits(before, after) if how == "bits" else int((before != after).sum()))
    assert abs(hits - 0.01 * total) < 5 * (0.01 * total) ** 0.5
    again = tmp_path / "again.bin"
    again.write_bytes(before.tobytes())
    damage_file(again, 0.01, how, seed=0, start=1000)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="valid: a share from 0 to 1"):
        damaged(encoded(RECIPES[0]), "bits", rate, 0)


def test_an_unknown_way_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean bytes"):
        damaged(encoded(RECIPES[0]), "byte", 0.1, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no file"):
        damage_file(tmp_path / "none", 0.1, "bits", 0)
    with pytest.raises(InputError, match="by bits or bytes"):
        damage_file(tmp_path / "none", 0.1, "codes", 0)
