"""Simulated studies with known curves: a few cells of what tests/benchmarks has as a grid."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.calibration.curve_laws import Shape as Law
from orchestrator.calibration.curve_laws import Track, draw_places, draw_track
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.ends import band, mean_ends
from orchestrator.statistics.widths import Rise, width_ends
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


@pytest.mark.parametrize(("rise", "scatter"), [(0.2, 1.0), (0.4, 0.3)])
def test_the_width_of_a_curve_covers_where_draws_rise_elsewhere(
    rise: float, scatter: float
) -> None:
    """Few draws show how far they lie apart too small; 100 examples each, as simulated studies."""
    values, groups = tuple(np.linspace(0.0, 1.0, 17).tolist()), np.arange(100)
    law = Law(rise=rise, scatter=scatter, center=0.5)
    track = Track("one/path", values, values, False, 5, (True,) * 17)
    rng, truth, covered = np.random.default_rng(4), track.width(law, 0.1, 0.9), 0
    for _ in range(STUDIES):
        drawn = draw_track(track, law, groups, draw_places(law, groups, 1, rng), rng)
        one = Rise(np.array(values), drawn.scores[0].astype(np.float64), drawn.draws[:, 0])
        found = width_ends([one], groups, 0.1, 0.9, 0.95, draws=300)
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
