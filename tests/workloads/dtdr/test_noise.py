"""Noise on coefficients: its size, and what it depends on."""

from __future__ import annotations

import pytest
import torch

from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import EncodedTensor, encode_tensor
from workloads.dtdr.noise import coefficient_noise, root_mean_square


def encoded(name: str = "w", transform: str = "hadamard") -> EncodedTensor:
    stream = torch.Generator().manual_seed(0)
    values = 3 * torch.randn(300, 100, generator=stream)
    return encode_tensor(name, values, Recipe(transform, "row", 16))  # type: ignore[arg-type]


@pytest.mark.parametrize("transform", ["none", "hadamard", "dct"])
def test_noise_is_as_large_as_asked_against_the_coefficients(transform: str) -> None:
    tensor = encoded(transform=transform)
    own = tensor.coefficients()
    noise = coefficient_noise(tensor, 0.5, 0)
    assert noise.shape == own.shape
    assert float(noise.norm() / own.norm()) == pytest.approx(0.5, rel=0.03)


def test_noise_depends_on_draw_and_name_and_is_proportional() -> None:
    tensor = encoded()
    noise = coefficient_noise(tensor, 0.5, 0)
    assert torch.equal(noise, coefficient_noise(tensor, 0.5, 0, tensor.coefficients()))
    assert torch.allclose(2 * noise, coefficient_noise(tensor, 1.0, 0))
    for other in (coefficient_noise(tensor, 0.5, 1), coefficient_noise(encoded("v"), 0.5, 0)):
        correlation = float((noise * other).mean() / noise.square().mean())
        assert abs(correlation) < 0.05


def test_the_root_mean_square_of_nothing_and_of_zeros_is_zero() -> None:
    assert root_mean_square(torch.zeros(0, 4)) == 0
    assert root_mean_square(torch.zeros(3, 4)) == 0
    assert root_mean_square(torch.full((3, 4), -2.0)) == pytest.approx(2)
