"""Codes of 8 bits: what each quantiser keeps, and how much is lost."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.dtdr.codec.quantisers import dequantise, part_rows, part_shapes, quantise
from workloads.dtdr.codec.recipe import Quantiser, Recipe

QUANTISERS: tuple[Quantiser, ...] = get_args(Quantiser)
CODED: tuple[Quantiser, ...] = ("row", "block", "minmax")


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def recipe(quantiser: Quantiser, block_rows: int = 128) -> Recipe:
    return Recipe("none", quantiser, block_rows)


def round_trip(x: torch.Tensor, of: Recipe) -> torch.Tensor:
    return dequantise(quantise(x, of), of, x.shape[1])


def relative_l2(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x - y).norm() / x.norm())


@pytest.mark.parametrize(("columns", "error"), [(512, 0.0098), (4096, 0.0103), (14336, 0.0112)])
def test_least_and_largest_of_128_rows_lose_one_per_cent(columns: int, error: float) -> None:
    x = gaussian(256, columns)
    assert relative_l2(x, round_trip(x, recipe("minmax"))) == pytest.approx(error, abs=0.0003)


@pytest.mark.parametrize("quantiser", CODED)
@pytest.mark.parametrize("columns", [64, 512, 4096])
def test_gaussian_weights_lose_less_than_a_hundredth_and_a_fifth(
    quantiser: Quantiser, columns: int
) -> None:
    x = gaussian(256, columns)
    assert relative_l2(x, round_trip(x, recipe(quantiser))) < 0.012


def test_numbers_themselves_lose_nothing() -> None:
    x = gaussian(5, 7)
    assert torch.equal(round_trip(x, recipe("none")), x)


@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 50),
    block_rows=st.integers(1, 8),
    size=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    quantiser=st.sampled_from(CODED),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_no_number_is_off_by_more_than_half_a_step(
    rows: int, columns: int, block_rows: int, size: float, quantiser: Quantiser, seed: int
) -> None:
    of = recipe(quantiser, block_rows)
    x = gaussian(rows, columns, seed=seed) * size
    parts = quantise(x, of)
    assert {name: tuple(part.shape) for name, part in parts.items()} == part_shapes(
        rows, columns, of
    )
    if quantiser == "minmax":
        span = (parts["high"] - parts["low"]) / 255
        step = span.repeat_interleave(block_rows)[:rows, None].expand_as(x)
    elif quantiser == "row":
        step = parts["scale"][:, None].expand_as(x)
    else:
        step = parts["scale"].repeat_interleave(16, 1)[:, :columns]
    off = (dequantise(parts, of, columns) - x).abs()
    assert (off <= 0.501 * step + 1e-6 * x.abs().max()).all()


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_a_slice_of_rows_has_the_bits_of_the_whole(quantiser: Quantiser) -> None:
    of = recipe(quantiser, 8)
    x = gaussian(50, 37)
    parts = quantise(x, of)
    whole = dequantise(parts, of, 37)
    for rows in (
        slice(0, 8),
        slice(8, 50),
        slice(3, 21),
        slice(49, 50),
        slice(9, 9),
        slice(-4, None),
    ):
        assert torch.equal(dequantise(parts, of, 37, rows), whole[rows])


@pytest.mark.parametrize("quantiser", CODED)
def test_rows_of_one_number_come_back_exactly(quantiser: Quantiser) -> None:
    of = recipe(quantiser, 2)
    assert torch.equal(round_trip(torch.zeros(5, 20), of), torch.zeros(5, 20))
    torch.testing.assert_close(round_trip(torch.full((5, 20), -3.5), of), torch.full((5, 20), -3.5))


def test_symmetric_codes_never_leave_their_127_steps() -> None:
    x = gaussian(100, 64)
    for quantiser in ("row", "block"):
        codes = quantise(x, recipe(quantiser))["codes"]
        assert codes.dtype == torch.int8
        assert codes.abs().max().item() == 127
        assert codes.min().item() >= -127


def test_neighbours_share_a_scale_so_an_outlier_costs_only_them() -> None:
    x = gaussian(4, 64)
    x[0, 3] = 1000
    off = (round_trip(x, recipe("block")) - x).abs()
    assert off[0, :16].max().item() > 0.5
    assert off[0, 16:].max().item() < 0.05
    assert off[1:].max().item() < 0.05


def test_least_and_largest_are_shared_by_a_block_of_rows_alone() -> None:
    x = gaussian(10, 64)
    x[0, 0] = 1000
    off = (round_trip(x, recipe("minmax", 4)) - x).abs()
    assert off[:4].max().item() > 0.5
    assert off[4:].max().item() < 0.05


def test_affine_codes_of_other_than_8_bits_are_read_by_their_levels() -> None:
    of = recipe("minmax", 2)
    parts = {
        "codes": torch.tensor([[0, 1023], [512, 7]], dtype=torch.uint16),
        "low": torch.tensor([-1.0]),
        "high": torch.tensor([3.0]),
        "levels": torch.tensor([1023], dtype=torch.int32),
    }
    expected = torch.tensor([[0, 1023], [512, 7]]) / 1023 * 4 - 1
    torch.testing.assert_close(dequantise(parts, of, 2), expected)


def test_the_place_of_a_row_in_each_part() -> None:
    assert part_rows("codes", slice(8, 20), recipe("minmax", 8)) == slice(8, 20)
    assert part_rows("low", slice(8, 20), recipe("minmax", 8)) == slice(1, 3)
