"""Kuramoto's equation: known answers, the compiled loop against torch, and an integrator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from workloads.phase_coupling.cores.dynamics import follow, follow_in_torch, kuramoto_step
from workloads.phase_coupling.cores.order import order_parameter, wrapped
from workloads.phase_coupling.cores.reference import (
    critical_coupling,
    dense_kuramoto,
    lorentzian_frequencies,
    stationary_order,
)


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def free_run(phases: Tensor, omega: Tensor, k: float, dt: float, steps: int) -> Tensor:
    return follow(torch.zeros(1, steps, len(omega)), phases[None], omega, k, dt)[0]


def test_without_coupling_a_phase_grows_by_its_frequency() -> None:
    omega = torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)
    after = free_run(torch.zeros(3), omega, 0.0, 0.1, 7)
    times = 0.1 * torch.arange(1, 8, dtype=torch.float64)
    assert torch.allclose(after, times[:, None] * omega, atol=1e-12)


@pytest.mark.parametrize(("k", "closer"), [(1.0, True), (-1.0, False)])
def test_two_oscillators_attract_each_other_where_the_coupling_is_positive(
    k: float, closer: bool
) -> None:
    start = torch.tensor([0.0, 1.0], dtype=torch.float64)
    end = free_run(start, torch.zeros(2), k, 0.1, 20)[-1]
    assert (float((end[1] - end[0]).abs()) < 1.0) is closer


@pytest.mark.parametrize("difference", [0.5, 0.98, 1.02, 1.5])
def test_two_oscillators_lock_where_their_difference_is_at_most_the_coupling(
    difference: float,
) -> None:
    omega = torch.tensor([-difference / 2, difference / 2], dtype=torch.float64)
    trace = free_run(torch.zeros(2), omega, 1.0, 0.05, 4000)
    gap = wrapped(trace[2000:, 1] - trace[2000:, 0])
    spread = float(gap.max() - gap.min())
    if difference <= 1:
        # Where the pull undoes the difference: sin(gap) = difference / K.
        assert spread < 1e-6
        assert math.sin(float(gap[-1])) == pytest.approx(difference, abs=1e-6)
    else:
        assert spread > 6, "the faster one overtakes the other again and again"


@pytest.mark.parametrize("ratio", [0.5, 1.5, 2.0, 4.0])
def test_many_oscillators_synchronise_above_the_critical_coupling(ratio: float) -> None:
    width = 0.5
    omega = lorentzian_frequencies(2000, width)
    # The few that are very fast would turn many times within a step, and lock to nothing anyway.
    omega = omega.clamp(-20, 20)
    k = ratio * critical_coupling(width)
    phases = math.tau * torch.rand(2000, generator=torch.Generator().manual_seed(0)).double()
    trace = free_run(phases, omega, k, 0.05, 1000)
    settled = float(order_parameter(trace[500::10]).mean())
    assert critical_coupling(width) == 1.0
    assert settled == pytest.approx(stationary_order(k, width), abs=0.03 if ratio > 1 else 0.06)


def test_the_mean_field_is_the_sum_over_all_pairs() -> None:
    phases, omega = drawn(3, 16), drawn(16, seed=1)
    one = kuramoto_step(phases, omega, 2.0, 0.1)
    assert torch.allclose(one, wrapped(phases + 0.1 * dense_kuramoto(phases, omega, 2.0)))


def test_small_steps_come_to_what_an_integrator_gives() -> None:
    from torchdiffeq import odeint

    omega, start = drawn(16, seed=1), drawn(16)
    times = torch.tensor([0.0, 2.0], dtype=torch.float64)
    exact = odeint(
        lambda _time, phases: dense_kuramoto(phases, omega, 2.0),
        start,
        times,
        rtol=1e-10,
        atol=1e-10,
    )[-1]

    def error(steps: int) -> float:
        end = free_run(start, omega, 2.0, 2.0 / steps, steps)[-1]
        return float(wrapped(end - exact).abs().max())

    assert error(2000) < 1e-2
    assert error(2000) / error(4000) == pytest.approx(2, abs=0.05), "the method is of first order"


def in_common(steps: Tensor | None, detached: bool) -> tuple[list[Tensor], ...]:
    """Trace and gradients of both ways, from the same inputs and the same slopes."""
    found = []
    for way in (follow, follow_in_torch):
        inputs = [0.5 * drawn(3, 20, 7), drawn(3, 7, seed=1), drawn(7, seed=2)]
        push, phases, omega = (each.requires_grad_() for each in inputs)
        trace = way(push, phases, omega, 2.0, 0.1, steps=steps, detached=detached)
        slopes = torch.autograd.grad(
            (trace * drawn(3, 20, 7, seed=3)).sum(),
            (push, phases, omega),
            allow_unused=True,
            materialize_grads=True,
        )
        found.append([trace.detach(), *slopes])
    return tuple(found)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_the_compiled_loop_is_the_one_in_torch_with_its_gradient(
    padded: bool, detached: bool
) -> None:
    steps = drawn(3, 20, seed=4) > -0.5 if padded else None
    for one, other in zip(*in_common(steps, detached), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    if detached:
        compiled, _ = in_common(steps, detached)
        assert not compiled[2].any(), "nothing goes back to the phases before the text"


def test_the_gradient_is_that_of_finite_differences() -> None:
    push, phases, omega = (drawn(2, 4, 3), drawn(2, 3, seed=1), drawn(3, seed=2))
    given = tuple(each.requires_grad_() for each in (push, phases, omega))
    assert torch.autograd.gradcheck(lambda *each: follow(*each, 2.0, 0.1).sin(), given)


@pytest.mark.parametrize("way", ["phases", "omega", "steps"])
def test_sizes_that_do_not_fit_are_refused_and_not_read_beyond(way: str) -> None:
    push, phases, omega = drawn(2, 6, 5), drawn(2, 5), drawn(5)
    steps = torch.ones(2, 6, dtype=torch.bool)
    if way == "phases":
        phases = phases[:, :3]
    elif way == "omega":
        omega = omega[:3]
    else:
        steps = steps[:, :4]
    with pytest.raises(ValueError, match=r"2 rows of 6 tokens drive 5 oscillators; valid: \["):
        follow(push, phases, omega, 2.0, 0.1, steps=steps)


def test_reading_token_by_token_gives_the_same_bits_as_reading_at_once() -> None:
    push, phases, omega = drawn(2, 9, 16), drawn(2, 16, seed=1), drawn(16, seed=2)
    at_once = follow(push, phases, omega, 2.0, 0.1)
    for token in range(9):
        phases = follow(push[:, token : token + 1], phases, omega, 2.0, 0.1)[:, -1]
        assert torch.equal(phases, at_once[:, token])
