"""How often intervals of thresholds and of differences of widths hold the truth: the whole grid.

``pytest tests/benchmarks/test_curve_calibration.py -m bench -s`` prints every cell.
"""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.curves.ends import band
from orchestrator.curves.widths import width_ends
from orchestrator.statistics import exact_proportion
from tests.orchestrator.curves.simulated import GRID, Shape, grouped, inside

SHAPES = {
    "usual": Shape(),
    "steep": Shape(scale=0.01, spread=0.3),
    "late": Shape(center=0.97, scale=0.01),
    "slow": Shape(center=0.3, scale=0.15, spread=2.0),
    "all or none": Shape(items=1),
    "apart": Shape(spread=6.0, shared=1.0),
    "falls": Shape(center=0.62, scale=0.02, spread=0.3, bump=0.45),
    "at a value": Shape(center=0.75, scale=0.02, spread=0.01),
}
PAIRS = (
    ("usual", "usual"),
    ("usual", "steep"),
    ("steep", "steep"),
    ("slow", "usual"),
    ("late", "late"),
    ("all or none", "all or none"),
    ("apart", "usual"),
    ("falls", "usual"),
)
STUDIES = 400


def held(covered: int) -> None:
    """The share that held is at least .93, as far as so many studies can tell."""
    high = exact_proportion(covered, STUDIES, 0.95).high
    assert high is not None
    assert high >= 0.93


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize(("clusters", "unequal"), [(16, False), (32, True), (64, False)])
def test_thresholds(name: str, clusters: int, unequal: bool) -> None:
    shape, groups = SHAPES[name], grouped(clusters, unequal)
    rng, truth = np.random.default_rng(3), shape.threshold()
    covered = 0
    for _ in range(STUDIES):
        low, high = band(GRID, shape.draw(groups, rng), groups, 0.95).crossing_ends(0.5)
        covered += inside(low, truth, high)
    print(f"threshold, {name}, {clusters} clusters: {covered / STUDIES:.3f}")
    held(covered)


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize(("clusters", "unequal"), [(24, False), (32, True), (64, False)])
def test_differences_of_widths(one: str, other: str, clusters: int, unequal: bool) -> None:
    first, second, groups = SHAPES[one], SHAPES[other], grouped(clusters, unequal)
    rng, truth = np.random.default_rng(4), first.width() - second.width()
    covered = 0
    for _ in range(STUDIES):
        rises = [first.rise(groups, rng), second.rise(groups, rng)]
        found = width_ends(rises, groups, 0.1, 0.9, 0.95, draws=800)
        covered += found.still or inside(found.low, truth, found.high)
    print(f"width, {one} less {other}, {clusters} clusters: {covered / STUDIES:.3f}")
    held(covered)
