"""Transforms by name: padding, inverses, and what part of the coefficients says of the whole."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.nn.functional import cosine_similarity

from workloads.dtdr.codec.recipe import Transform
from workloads.dtdr.codec.transforms import padded_length, restored, transformed

ALL: tuple[Transform, ...] = get_args(Transform)
PROPER: tuple[Transform, ...] = ("hadamard", "dct", "hadamard+dct")


def gaussian(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype)


@pytest.mark.parametrize("transform", ALL)
def test_rows_come_back(transform: Transform) -> None:
    for n in (1, 5, 16, 96, 300, 700):
        x = gaussian(4, 3, n)
        coefficients = transformed(x, transform)
        assert coefficients.shape == (4, 3, padded_length(n, transform))
        torch.testing.assert_close(restored(coefficients, transform, n), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", ALL)
def test_norms_and_inner_products_are_kept_also_by_padded_rows(transform: Transform) -> None:
    x, y = gaussian(2, 20, 700, dtype=torch.float64)
    cx, cy = transformed(x, transform), transformed(y, transform)
    torch.testing.assert_close((cx * cy).sum(1), (x * y).sum(1), rtol=0, atol=1e-10)
    torch.testing.assert_close(cx.norm(dim=1), x.norm(dim=1), rtol=1e-12, atol=0)


def test_only_walsh_hadamard_needs_a_power_of_two() -> None:
    assert [padded_length(n, "hadamard") for n in (1, 2, 3, 64, 65)] == [1, 2, 4, 64, 128]
    assert padded_length(65, "hadamard+dct") == 128
    assert padded_length(65, "dct") == padded_length(65, "none") == 65


@pytest.mark.parametrize("transform", ALL)
def test_neither_way_changes_what_it_is_given(transform: Transform) -> None:
    x = gaussian(4, 64)
    before = x.clone()
    coefficients = transformed(x, transform)
    kept = coefficients.clone()
    restored(coefficients, transform, 64)
    assert torch.equal(x, before)
    assert torch.equal(coefficients, kept)


@pytest.mark.parametrize("transform", ALL)
def test_halves_have_coefficients_in_float32(transform: Transform) -> None:
    x = gaussian(4, 40, dtype=torch.bfloat16)
    coefficients = transformed(x, transform)
    assert coefficients.dtype == torch.float32
    assert torch.equal(coefficients, transformed(x.float(), transform))


def test_coefficients_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="64 coefficients"):
        restored(torch.ones(2, 32), "hadamard", 40)


# Of an orthonormal transform of Gaussian rows, a share rho of the coefficients that is chosen
# without looking at them has a cosine of sqrt(rho) with the whole: it keeps rho of the energy.


@pytest.mark.parametrize("transform", PROPER)
@pytest.mark.parametrize("which", ["random", "leading"])
def test_a_share_of_the_coefficients_has_the_cosine_of_its_root(
    transform: Transform, which: str
) -> None:
    x = gaussian(512, 128)
    coefficients = transformed(x, transform)
    order = torch.arange(128).expand(512, -1)
    if which == "random":
        order = gaussian(512, 128, seed=1).argsort(1)
    for rho in (0.1, 0.25, 0.5, 0.75, 0.9):
        gone = order[:, max(1, round(rho * 128)) :]
        part = restored(coefficients.scatter(1, gone, 0), transform, 128)
        cosine = cosine_similarity(part, x).mean().item()
        assert cosine == pytest.approx(rho**0.5, abs=0.02), rho


def test_the_largest_tenth_of_the_coefficients_says_more_than_any_tenth() -> None:
    x = gaussian(512, 128)
    coefficients = transformed(x, "hadamard")
    gone = coefficients.abs().argsort(1, descending=True)[:, 12:]
    part = restored(coefficients.scatter(1, gone, 0), "hadamard", 128)
    assert cosine_similarity(part, x).mean().item() == pytest.approx(0.66, abs=0.02)
