"""Leakage is what flows back through the seed's input, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from workloads.morphogenesis.body.isolation import (
    GradientBalance,
    IsolationWatch,
    gradient_norm,
    gradient_ratio,
)


class Leaky:
    """Breaks a slot's isolation: its seed sees the host's activation itself."""

    @staticmethod
    def make(slot, monkeypatch):
        monkeypatch.setattr(slot, "_apart", lambda h: h)
        return slot


def backward(slot):
    h = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (3 * slot(h)).sum().backward()
    return h


@pytest.mark.parametrize(("stage", "epochs"), [("TRAINING", 0), ("BLENDING", 0), ("BLENDING", 2)])
def test_large_gradients_of_the_host_are_no_violation(grown, stage, epochs) -> None:
    slot = grown.slot(stage, "conv_light", epochs=epochs)
    assert float(backward(slot).grad.norm()) > 1
    assert slot.isolation.take() == (0, 0.0)


@pytest.mark.parametrize(("stage", "epochs"), [("TRAINING", 0), ("BLENDING", 2)])
def test_what_flows_back_through_the_seed_is_counted_and_measured(
    grown, monkeypatch, stage, epochs
) -> None:
    sound = backward(grown.slot(stage, "conv_light", epochs=epochs)).grad
    slot = Leaky.make(grown.slot(stage, "conv_light", epochs=epochs), monkeypatch)
    leaked = backward(slot).grad - sound
    backward(slot)
    violations, leakage = slot.isolation.take()
    assert violations == 2
    assert leakage == pytest.approx(float(leaked.norm()), rel=1e-4)
    assert slot.isolation.take() == (0, 0.0)


def test_a_seed_that_belongs_to_the_host_is_not_watched(grown, monkeypatch) -> None:
    slot = Leaky.make(grown.slot("PROBATIONARY", "conv_light"), monkeypatch)
    backward(slot)
    assert slot.isolation.take() == (0, 0.0)


def test_a_nan_that_flows_back_is_a_violation() -> None:
    watch = IsolationWatch()
    x = torch.ones(3, requires_grad=True)
    (watch.observe(x) * math.nan).sum().backward()
    violations, leakage = watch.take()
    assert violations == 1
    assert math.isnan(leakage)


def test_the_ratio_of_gradients_is_scaled_by_the_sizes_and_clamped() -> None:
    assert gradient_ratio(0.5, 2.0, 100, 400) == pytest.approx(0.5)
    assert gradient_ratio(0.0, 2.0, 100, 400) == 0
    assert gradient_ratio(10.0, 1.0, 1, 1) == 10
    assert gradient_ratio(10.1, 1.0, 1, 1) == 10
    assert gradient_ratio(math.inf, 1.0, 1, 1) == 10


def test_a_host_without_a_gradient_and_a_seed_without_parameters_have_a_ratio_of_0() -> None:
    assert gradient_ratio(1.0, 0.99e-8, 1, 1) == 0
    assert gradient_ratio(1e-9, 1e-8, 1, 1) == pytest.approx(0.1)
    assert gradient_ratio(0.0, 1.0, 0, 100) == 0


def test_the_ratio_of_a_nan_is_a_nan() -> None:
    assert math.isnan(gradient_ratio(math.nan, 1.0, 1, 1))


def test_only_the_norm_of_the_seed_is_averaged() -> None:
    balance = GradientBalance()
    assert balance.ratio(1, 1) is None
    balance.observe(1.0, 5.0)
    assert balance.ratio(1, 1) == pytest.approx(0.2)
    balance.observe(2.0, 1.0)
    assert balance.ratio(1, 1) == pytest.approx(1.1)
    balance.observe(0.0, 1.0)
    assert balance.ratio(1, 1) == pytest.approx(0.99)


def test_the_norm_of_gradients_is_over_all_of_them_and_0_without_any() -> None:
    layer = nn.Linear(2, 1)
    assert gradient_norm(layer.parameters()) == 0
    layer.weight.grad = torch.tensor([[3.0, 0.0]])
    assert gradient_norm(layer.parameters()) == pytest.approx(3)
    layer.bias.grad = torch.tensor([4.0])
    assert gradient_norm(layer.parameters()) == pytest.approx(5)
