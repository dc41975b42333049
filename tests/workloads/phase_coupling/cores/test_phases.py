"""Where oscillators start, and the solver that reaches a target."""

from __future__ import annotations

import math

import pytest
import torch

from workloads.phase_coupling.cores.order import order_parameter
from workloads.phase_coupling.cores.phases import initial_phases, linspace_phases
from workloads.phase_coupling.cores.solver import gap_for, phases_for, spaced_order


@pytest.mark.parametrize("number", [2, 3, 16, 64])
def test_the_solver_reaches_its_target(number: int) -> None:
    for target in [0.01, *(step / 20 for step in range(1, 20)), 0.99, 1 - 1e-6]:
        phases = phases_for(target, number)
        assert phases.shape == (number,)
        assert float(order_parameter(phases)) == pytest.approx(target, abs=1e-6)
        assert 0 <= gap_for(target, number) <= math.tau / number


def test_the_closed_form_is_the_order_parameter_of_evenly_spaced_phases() -> None:
    for gap in (0.0, 0.1, 0.3, math.tau / 16):
        phases = torch.arange(16, dtype=torch.float64) * gap
        assert spaced_order(gap, 16) == pytest.approx(float(order_parameter(phases)), abs=1e-12)


def test_the_origins_phases_miss_their_targets_as_it_was_found() -> None:
    achieved = {
        r: float(order_parameter(linspace_phases(r, 16))) for r in (0.1, 0.3, 0.5, 0.7, 0.9)
    }
    assert achieved == pytest.approx(
        {0.1: 0.042, 0.3: 0.306, 0.5: 0.595, 0.7: 0.840, 0.9: 0.981}, abs=5e-4
    )
    # Its widest range has its two ends in one place.
    ends = torch.linspace(-math.pi, math.pi, 16, dtype=torch.float64)
    assert float(order_parameter(ends)) == pytest.approx(1 / 16)
    assert float(order_parameter(linspace_phases(0.01, 16))) < 1e-6
    assert float(order_parameter(linspace_phases(0.99, 16))) == pytest.approx(1)


@pytest.mark.parametrize("given", [phases_for, linspace_phases])
@pytest.mark.parametrize("target", [0.0, 1.0, -0.2, 1.5, math.nan])
def test_a_target_outside_of_0_to_1_is_refused(given: object, target: float) -> None:
    assert callable(given)
    with pytest.raises(ValueError, match="target order parameter"):
        given(target, 16)


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_fewer_than_two_oscillators_are_refused(number: int) -> None:
    for start in (lambda: phases_for(0.5, number), lambda: initial_phases(3, number, "uniform")):
        with pytest.raises(ValueError, match="2 or more"):
            start()


def test_initial_phases_are_equal_or_spread_or_drawn() -> None:
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(initial_phases(2, 16), torch.zeros(2, 16, dtype=torch.float64))
    assert float(order_parameter(initial_phases(2, 16, "uniform")).max()) < 1e-6
    drawn = initial_phases(2, 16, "random", generator)
    assert float(drawn.abs().max()) <= math.pi
    assert not torch.equal(drawn[0], drawn[1])


def test_a_row_with_a_generator_of_its_own_draws_the_same_whatever_is_beside_it() -> None:
    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = initial_phases(3, 8, "random", generators(4, 5, 6))
    alone = initial_phases(1, 8, "random", generators(5))
    assert torch.equal(together[1:2], alone)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="give a generator"):
        initial_phases(2, 8, "random")
    with pytest.raises(ValueError, match="1 generators for 2 rows"):
        initial_phases(2, 8, "random", [torch.Generator()])
    with pytest.raises(ValueError, match="valid: equal, uniform, random"):
        initial_phases(2, 8, "zeros")  # type: ignore[arg-type]
