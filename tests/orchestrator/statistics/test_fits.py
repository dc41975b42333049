"""The isotonic fit, crossings of it, and what a grid can tell of a width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.statistics.crossing import crossing, step_at, width_range
from orchestrator.statistics.isotonic import isotonic, pooled
from orchestrator.statistics.widths import width

MEANS = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=12)


@given(MEANS)
def test_the_fit_never_falls_and_is_nearer_than_pooled_neighbours(means: list[float]) -> None:
    fit = isotonic(np.array(means))
    assert (np.diff(fit) >= -1e-12).all()
    # optimal: the residuals of each block sum to 0, and no beginning of a block lies above it
    blocks = pooled(np.array(means))
    for block in range(blocks[-1] + 1):
        rest = np.array(means)[blocks == block] - fit[blocks == block]
        assert rest.sum() == pytest.approx(0, abs=1e-6)
        assert rest.cumsum().min() >= -1e-6


def test_a_curve_that_rises_is_its_own_fit() -> None:
    means = np.array([0.0, 0.1, 0.4, 0.4, 1.0])
    assert isotonic(means) == pytest.approx(means)


def test_many_curves_are_fitted_as_each_alone() -> None:
    means = np.random.default_rng(0).normal(size=(600, 7))
    assert isotonic(means)[417] == pytest.approx(isotonic(means[417]))


def test_the_source_curve_crosses_between_the_values_around_it() -> None:
    """Overlaps 0, …, 0, .1, .3, 1 at the fractions .005 to 1: a threshold of .857."""
    values = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
    overlap = np.array([0, 0, 0, 0, 0, 0, 0, 0.1, 0.3, 1.0])
    at = float(crossing(values, isotonic(overlap), 0.5))
    assert at == pytest.approx(0.8 + 0.2 * 0.2 / 0.7)
    assert step_at(values, at) == pytest.approx(0.2)
    assert float(width(values, overlap, 0.1, 0.9)) == pytest.approx(0.8 + 0.2 * 0.6 / 0.7 - 0.6)


def test_a_level_that_is_never_or_always_reached_is_outside() -> None:
    values = np.array([0.1, 0.5, 1.0])
    fits = np.array([[0.0, 0.1, 0.2], [0.6, 0.7, 0.8], [0.0, 0.5, 1.0]])
    assert crossing(values, fits, 0.5).tolist() == [np.inf, -np.inf, 0.5]


def test_a_flat_part_at_the_level_is_crossed_at_its_beginning() -> None:
    assert float(crossing(np.arange(5.0), np.array([0, 0.5, 0.5, 0.5, 1]), 0.5)) == 1.0


def test_a_grid_bounds_the_width_of_every_curve_through_its_values() -> None:
    values = np.array([0.0, 0.4, 0.6, 0.65, 1.0])
    fit = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    least, most = width_range(values, fit, 0.1, 0.9)
    assert least == 0.0
    assert most == pytest.approx(0.2)
    assert least < float(width(values, fit, 0.1, 0.9)) < most
