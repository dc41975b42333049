"""Simulated studies with known curves: a few cells of what tests/benchmarks has as a grid."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.curves.ends import band, mean_ends
from orchestrator.curves.widths import width_ends
from orchestrator.statistics import exact_proportion
from tests.orchestrator.curves.simulated import GRID, Shape, grouped, inside

STUDIES = 120


def assert_covers(covered: int, studies: int) -> None:
    high = exact_proportion(covered, studies, 0.99).high
    assert high is not None
    assert high >= 0.93


@pytest.mark.parametrize(
    ("shape", "clusters"),
    [
        (Shape(), 32),
        (Shape(spread=6.0, shared=1.0), 16),
        (Shape(bump=0.45, center=0.62, scale=0.02), 32),
        (Shape(items=1), 16),
    ],
)
def test_intervals_of_a_threshold_cover(shape: Shape, clusters: int) -> None:
    rng, groups, truth = (
        np.random.default_rng(1),
        grouped(clusters, unequal=True),
        shape.threshold(),
    )
    covered = 0
    for _ in range(STUDIES):
        low, high = band(GRID, shape.draw(groups, rng), groups, 0.95).crossing_ends(0.5)
        covered += inside(low, truth, high)
    assert_covers(covered, STUDIES)


@pytest.mark.parametrize(
    ("one", "other"),
    [(Shape(), Shape()), (Shape(center=0.3, scale=0.15, spread=2.0), Shape(scale=0.01))],
)
def test_intervals_of_a_difference_of_widths_cover(one: Shape, other: Shape) -> None:
    rng, groups, truth = np.random.default_rng(2), grouped(32), one.width() - other.width()
    covered = 0
    for _ in range(STUDIES):
        rises = [one.rise(groups, rng), other.rise(groups, rng)]
        found = width_ends(rises, groups, 0.1, 0.9, 0.95, draws=400)
        covered += inside(found.low, truth, found.high)
    assert_covers(covered, STUDIES)


def test_differences_by_value_hold_together() -> None:
    """Fifteen values of two curves that are the same: how often any of them is said to differ."""
    rng, groups, shape = np.random.default_rng(3), grouped(32), Shape()
    wrong = 0
    for _ in range(STUDIES):
        rows = (shape.draw(groups, rng) - shape.draw(groups, rng))[:-1]
        low, high = mean_ends(rows, groups, 0.95, len(rows))
        wrong += bool(((low > 0) | (high < 0)).any())
    share = exact_proportion(wrong, STUDIES, 0.95).low
    assert share is not None
    assert share <= 0.05
