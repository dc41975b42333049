"""The order parameter, the normalised entropy, and the names of their ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workloads.phase_coupling.cores.order import (
    mean_phase,
    normalised_entropy,
    order_parameter,
    wrapped,
)
from workloads.phase_coupling.cores.phases import uniform_phases
from workloads.phase_coupling.cores.tones import TONES, Tone, residence, tone_of


@pytest.mark.parametrize("number", [2, 3, 16, 101])
def test_equal_phases_are_in_order_and_evenly_spread_ones_are_not(number: int) -> None:
    assert float(order_parameter(torch.full((number,), 0.7))) == pytest.approx(1, abs=1e-6)
    assert float(order_parameter(uniform_phases(number))) < 1e-6
    assert float(order_parameter(uniform_phases(number).float())) < 1e-6


def test_a_shift_of_all_phases_changes_only_the_mean_phase() -> None:
    phases = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = phases + 2.5
    assert torch.allclose(order_parameter(phases), order_parameter(shifted), atol=1e-12)
    turned = wrapped(mean_phase(shifted) - mean_phase(phases) - 2.5)
    assert torch.allclose(turned, torch.zeros(5, dtype=torch.float64), atol=1e-12)


def test_the_gradient_is_right_and_finite_where_there_is_no_order() -> None:
    phases = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(order_parameter, (phases,))
    spread = uniform_phases(8).requires_grad_()
    order_parameter(spread).backward()  # type: ignore[no-untyped-call]
    assert spread.grad is not None
    assert bool(spread.grad.isfinite().all())


def test_phases_are_wrapped_by_whole_turns() -> None:
    phases = torch.tensor([0.0, 4.0, -4.0, 20.0], dtype=torch.float64)
    assert torch.allclose(wrapped(phases).sin(), phases.sin())
    assert float(wrapped(phases).abs().max()) <= math.pi


def test_entropy_is_one_if_uniform_and_zero_if_one_hot() -> None:
    assert float(normalised_entropy(torch.zeros(50))) == pytest.approx(1, abs=1e-6)
    certain = torch.full((50,), -math.inf)
    certain[3] = 0
    assert float(normalised_entropy(certain)) == 0
    certain.requires_grad_()
    normalised_entropy(certain).backward()  # type: ignore[no-untyped-call]
    assert certain.grad is not None
    assert bool(certain.grad.isfinite().all())


def test_entropy_of_half_precision_is_taken_in_full() -> None:
    logits = torch.randn(4, 300, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert normalised_entropy(logits).dtype == torch.float32
    assert torch.allclose(
        normalised_entropy(logits), normalised_entropy(logits.double()).float(), atol=1e-6
    )
    with pytest.raises(ValueError, match="two tokens or more"):
        normalised_entropy(torch.zeros(3, 1))


@pytest.mark.parametrize(
    ("r", "tone"),
    [
        (1.0, "tension"),
        (math.nextafter(0.8, 1), "tension"),
        (0.8, "responsibility"),
        (math.nextafter(0.55, 1), "responsibility"),
        (0.55, "spiral"),
        (0.40, "spiral"),
        (math.nextafter(0.40, 0), "joy"),
        (0.30, "joy"),
        (math.nextafter(0.30, 0), "intimacy"),
        (0.10, "intimacy"),
        (math.nextafter(0.10, 0), "unformed"),
        (0.0, "unformed"),
    ],
)
def test_tones_change_exactly_at_their_bounds(r: float, tone: str) -> None:
    assert tone_of(r) == tone


@pytest.mark.parametrize("r", [-0.01, 1.01, math.nan, math.inf])
def test_what_is_no_order_parameter_has_no_tone(r: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        tone_of(r)


def test_residence_counts_what_was_measured() -> None:
    shares = residence([0.9, 0.9, 0.45, 0.05, math.nan])
    assert tuple(shares) == TONES
    assert shares["tension"] == 0.5
    assert shares["spiral"] == shares["unformed"] == 0.25
    assert sum(shares.values()) == 1
    assert residence([math.nan]) == {}


@pytest.mark.parametrize(
    ("r", "tone"), [(0.8, "responsibility"), (0.55, "spiral"), (0.4, "spiral"), (0.3, "joy")]
)
def test_rounding_of_float32_moves_no_r_over_a_bound(r: float, tone: Tone) -> None:
    steps = (-math.inf, math.inf)
    near = [float(np.nextafter(np.float32(r), np.float32(end))) for end in steps]
    assert residence([float(np.float32(r)), *near])[tone] == 1
