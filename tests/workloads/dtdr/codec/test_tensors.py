"""Encoded tensors: every recipe, shape and dtype, slices of rows, and what is refused."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform
from workloads.dtdr.codec.tensors import EncodedTensor, encode_tensor
from workloads.errors import InputError

TRANSFORMS: tuple[Transform, ...] = get_args(Transform)
QUANTISERS: tuple[Quantiser, ...] = get_args(Quantiser)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def gaussian(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def relative_l2(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x.double() - y.double()).norm() / x.double().norm())


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_a_round_trip_loses_little_and_keeps_shape_and_dtype(
    transform: Transform, quantiser: Quantiser
) -> None:
    for dtype in DTYPES:
        weight = gaussian(200, 96, dtype=dtype)
        decoded = encode_tensor("w", weight, Recipe(transform, quantiser, 64)).decoded()
        assert (decoded.shape, decoded.dtype) == (weight.shape, dtype)
        assert relative_l2(weight, decoded) < 0.012, dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_weights_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    weight = gaussian(100, 30, dtype=dtype)
    encoded = encode_tensor("w", weight, Recipe("none", "none", 16))
    assert torch.equal(encoded.decoded(), weight)
    assert encoded.bytes == encoded.original_bytes == weight.numel() * dtype.itemsize


def test_float64_coefficients_that_are_kept_lose_nothing_of_it() -> None:
    weight = gaussian(50, 60, dtype=torch.float64)
    for transform in TRANSFORMS:
        decoded = encode_tensor("w", weight, Recipe(transform, "none", 16)).decoded()
        assert relative_l2(weight, decoded) < 1e-14


@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 40),
    block_rows=st.integers(1, 20),
    transform=st.sampled_from(TRANSFORMS),
    quantiser=st.sampled_from(QUANTISERS),
    bounds=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_some_rows_have_the_bits_of_the_whole(
    rows: int,
    columns: int,
    block_rows: int,
    transform: Transform,
    quantiser: Quantiser,
    bounds: tuple[int, int],
    seed: int,
) -> None:
    weight = gaussian(rows, columns, seed=seed)
    encoded = encode_tensor("w", weight, Recipe(transform, quantiser, block_rows))
    some = slice(*bounds)
    assert torch.equal(encoded.decoded(some), encoded.decoded()[some])
    assert torch.equal(encoded.coefficients(some), encoded.coefficients()[some])


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_blocks_of_a_tensor_of_many_tiles_have_the_bits_of_the_whole(
    transform: Transform, quantiser: Quantiser
) -> None:
    weight = gaussian(700, 1000, dtype=torch.bfloat16)
    encoded = encode_tensor("w", weight, Recipe(transform, quantiser, 96))
    whole = encoded.decoded()
    assert relative_l2(weight, whole) < 0.012
    blocks = [encoded.decoded(rows) for rows in encoded.block_slices()]
    assert torch.equal(torch.cat(blocks), whole)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_tiles_do_not_show_in_what_is_encoded(quantiser: Quantiser) -> None:
    weight = gaussian(700, 1000)  # 262 rows a tile: blocks of 96 do not divide it
    together = encode_tensor("w", weight, Recipe("none", quantiser, 96))
    for start in range(0, 700, 96):
        alone = encode_tensor("w", weight[start : start + 96], Recipe("none", quantiser, 96))
        assert torch.equal(alone.decoded(), together.decoded(slice(start, start + 96)))


def test_rows_blocks_and_columns_are_counted() -> None:
    encoded = encode_tensor("w", gaussian(3, 7, 5, 20), Recipe("hadamard", "row", 16))
    assert (encoded.rows, encoded.length, encoded.columns) == (105, 20, 32)
    assert encoded.blocks == 7
    slices = encoded.block_slices()
    assert (slices[0], slices[-1]) == (slice(0, 16), slice(96, 105))
    assert encoded.coefficients().shape == (105, 32)
    assert encoded.decoded().shape == (3, 7, 5, 20)
    assert encoded.decoded(slice(16, 32)).shape == (16, 20)
    assert encoded.bytes == 105 * 32 + 105 * 4
    assert encoded.original_bytes == 105 * 20 * 4


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(2.5),
        torch.arange(5.0),
        torch.empty(0),
        torch.empty(0, 4),
        torch.empty(4, 0),
        torch.arange(12).view(3, 4),
        torch.ones(3, 4, dtype=torch.bool),
        gaussian(10, dtype=torch.bfloat16),
    ],
    ids=["scalar", "vector", "empty", "no rows", "no columns", "integers", "bool", "bf16 vector"],
)
def test_vectors_empty_tensors_and_integers_are_stored_as_they_are(tensor: torch.Tensor) -> None:
    encoded = encode_tensor("w", tensor, Recipe("hadamard", "row", 2))
    assert encoded.plain
    assert encoded.blocks == 1
    assert encoded.bytes == tensor.numel() * tensor.element_size()
    assert encoded.decoded().dtype == tensor.dtype
    assert torch.equal(encoded.decoded(), tensor)
    assert torch.equal(
        encoded.decoded(slice(0, 1)), tensor.reshape(encoded.rows, encoded.length)[:1]
    )
    with pytest.raises(ValueError, match="w is stored as it is"):
        encoded.coefficients()


def test_an_encoding_does_not_change_with_the_weights_it_was_made_of() -> None:
    for shape, recipe in [((8,), Recipe()), ((8, 8), Recipe("none", "none", 4))]:
        weight = gaussian(*shape)
        before = weight.clone()
        encoded = encode_tensor("w", weight, recipe)
        weight.zero_()
        assert torch.equal(encoded.decoded(), before)


def test_a_parameter_and_a_transposed_view_are_taken_as_they_are_seen() -> None:
    weight = torch.nn.Parameter(gaussian(30, 20))
    recipe = Recipe("dct", "block", 8)
    seen = encode_tensor("w", weight.T, recipe)
    assert torch.equal(seen.decoded(), encode_tensor("w", weight.T.contiguous(), recipe).decoded())
    assert not seen.decoded().requires_grad


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float8_e4m3fn])
def test_what_is_not_finite_is_refused_by_name_and_number(dtype: torch.dtype) -> None:
    for shape in ((40,), (8, 5)):  # stored as it is, and transformed
        weight = gaussian(40).view(shape)
        weight.view(-1)[3] = weight.view(-1)[7] = float("nan")
        with pytest.raises(
            InputError, match=r"layers\.0\.up: 2 of 40 numbers are not finite \(2 N"
        ):
            encode_tensor("layers.0.up", weight.to(dtype), Recipe())


def test_infinite_weights_are_refused_in_every_recipe() -> None:
    weight = gaussian(8, 5)
    weight[2, 2] = float("-inf")
    for transform in TRANSFORMS:
        for quantiser in QUANTISERS:
            with pytest.raises(InputError, match=r"w: 1 of 40 .*1 infinite"):
                encode_tensor("w", weight, Recipe(transform, quantiser, 4))


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_weights_too_large_to_compute_with_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"w: its largest magnitude, 3e\+38, is too large"):
        encode_tensor("w", torch.full((4, 4), value), Recipe())
    with pytest.raises(InputError, match=r"w: its largest magnitude, 1e\+300, is too large"):
        encode_tensor("w", torch.full((4, 4), 1e300, dtype=torch.float64), Recipe())


def test_parts_that_do_not_fit_are_refused_by_name() -> None:
    encoded = encode_tensor("w", gaussian(8, 6), Recipe("hadamard", "row", 4))
    with pytest.raises(InputError, match=r"w: .*shape \[9, 6\] has the parts codes \[9, 8\]"):
        EncodedTensor("w", (9, 6), encoded.dtype, encoded.recipe, encoded.parts)
    with pytest.raises(InputError, match=r"w: .*not codes \[8, 8\]$"):
        EncodedTensor("w", (8, 6), encoded.dtype, encoded.recipe, {"codes": encoded.parts["codes"]})
    with pytest.raises(InputError, match=r"w: .*values \[8, 6\], not none"):
        EncodedTensor("w", (8, 6), encoded.dtype, None, {})


def test_rows_are_not_taken_in_larger_steps() -> None:
    encoded = encode_tensor("w", gaussian(8, 6), Recipe())
    with pytest.raises(ValueError, match="steps of one"):
        encoded.decoded(slice(0, 8, 2))


def test_damaged_codes_and_scales_decode_to_what_they_say() -> None:
    encoded = encode_tensor("w", gaussian(8, 16), Recipe("none", "row", 4))
    scale = encoded.parts["scale"].clone()
    scale[3] = float("inf")
    damaged = EncodedTensor(
        "w", encoded.shape, encoded.dtype, encoded.recipe, {**encoded.parts, "scale": scale}
    ).decoded()
    assert not damaged[3].isfinite().all()
    assert torch.equal(damaged[4:], encoded.decoded()[4:])


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_what_is_done_to_decoded_numbers_does_not_reach_the_encoding(transform: Transform) -> None:
    for quantiser in QUANTISERS:
        encoded = encode_tensor("w", gaussian(16, 32), Recipe(transform, quantiser, 4))
        decoded, coefficients = encoded.decoded().clone(), encoded.coefficients().clone()
        encoded.coefficients().zero_()
        encoded.decoded().zero_()
        assert torch.equal(encoded.decoded(), decoded), quantiser
        assert torch.equal(encoded.coefficients(), coefficients), quantiser
