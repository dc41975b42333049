"""How often intervals of thresholds and of differences of widths hold the truth, and how often a
whole verdict finds a difference where there is none: the whole grid.

``pytest tests/benchmarks/test_curve_calibration.py -m bench -s`` prints every cell.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from orchestrator.curves.curve import HIGHER, LESS_SHARP, LOWER, MIXED, SHARPER
from orchestrator.curves.estimating import Asks
from orchestrator.curves.gathering import AtValue, Gathered
from orchestrator.curves.questions import answers_of
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.ends import band
from orchestrator.statistics.widths import Rise, width, width_ends
from orchestrator.study_file import Question
from tests.orchestrator.curves.simulated import GRID, Floats, Shape, grouped, inside

SHAPES = {
    "usual": Shape(),
    "steep": Shape(scale=0.01, spread=0.3),
    "late": Shape(center=0.97, scale=0.01),
    "slow": Shape(center=0.3, scale=0.15, spread=2.0),
    "all or none": Shape(items=1),
    "apart": Shape(spread=6.0, shared=1.0),
    "apart and early": Shape(center=0.4, spread=6.0, shared=1.0),
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
    ("apart", "steep"),
    ("apart and early", "usual"),
    ("falls", "usual"),
)
STUDIES = 400
VERDICTS = 200
ASKS = Asks("overlap", 0.5, 0.1, 0.9, 0.95)
DIFFERENT = (SHARPER, LESS_SHARP, HIGHER, LOWER, MIXED)
QUESTIONS: dict[str, Question] = {
    kind: TypeAdapter(Question).validate_python(
        {
            "kind": kind,
            "curve": {"arm": "one", "path": "zeros"},
            "than": {"arm": "other", "path": "zeros"},
            "margin": 1e-9,
            **({"by": "l2"} if kind == "matched" else {}),
        }
    )
    for kind in ("sharper", "higher", "matched")
}


def measured(arm: str, scores: Floats, groups: NDArray[np.intp]) -> Gathered:
    """A curve whose error falls from 1 to 0 as the fraction rises."""
    values = tuple(
        AtValue(float(at), 1, {"l2": 1 - float(at)}, (float(row.mean()),))
        for at, row in zip(GRID, scores, strict=True)
    )
    units = tuple(f"u{i}" for i in range(len(groups)))
    clusters = tuple(f"c{i}" for i in groups)
    return Gathered(arm, "zeros", "fraction", values, scores, units, clusters, 1)


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
@pytest.mark.parametrize(("clusters", "unequal"), [(32, False), (32, True), (64, False)])
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


@pytest.mark.parametrize(("draws", "scatter"), [(3, 0.3), (5, 0.1), (5, 0.3), (5, 0.6)])
def test_widths_of_curves_that_differ_by_random_draw(draws: int, scatter: float) -> None:
    """Each draw has a steepness of its own (`scatter`: of its logarithm) for all examples alike."""
    groups = np.arange(64)
    many = _by_draw(2000, scatter, np.random.default_rng(5))
    truth = width(many.values, many.means(), 0.1, 0.9)
    rng, covered, alone = np.random.default_rng(6), 0, 0
    for _ in range(STUDIES):
        rise = _by_draw(draws, scatter, rng)
        found = width_ends([rise], groups, 0.1, 0.9, 0.95, draws=400)
        covered += inside(found.low, float(truth[0]), found.high)
        found = width_ends([Rise(rise.values, rise.scores)], groups, 0.1, 0.9, 0.95, draws=400)
        alone += inside(found.low, float(truth[0]), found.high)
    shares = f"{covered / STUDIES:.3f}, over examples alone {alone / STUDIES:.3f}"
    print(f"width, {draws} draws that scatter by {scatter}: {shares}")
    held(covered)


def _by_draw(draws: int, scatter: float, rng: np.random.Generator) -> Rise:
    """64 examples of a curve whose draws differ; of very many draws the one curve of their mean."""
    values = np.linspace(0.0, 1.0, 17)
    steepness = 0.1 * np.exp(scatter * rng.normal(size=(draws, 1, 1)))
    center = 0.5 + 0.05 * (scatter * rng.normal(size=(draws, 1, 1)) + rng.normal(size=(1, 1, 64)))
    likely = 1 / (1 + np.exp((center - values[:, None]) / steepness))
    scores = (likely + (rng.random(likely.shape) < likely)) / 2
    several = scores.mean(axis=2) if draws < 100 else None
    return Rise(values, scores.mean(axis=0), several)


@pytest.mark.parametrize("name", ["usual", "slow", "all or none", "apart"])
@pytest.mark.parametrize(("clusters", "unequal"), [(32, True), (64, False)])
def test_verdicts_on_curves_that_are_the_same(name: str, clusters: int, unequal: bool) -> None:
    """One question of each kind, with next to no margin: any difference that is found is wrong."""
    shape, groups = SHAPES[name], grouped(clusters, unequal)
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(VERDICTS):
        pair = [measured(arm, shape.draw(groups, rng), groups) for arm in ("one", "other")]
        answers = answers_of(QUESTIONS, pair, ASKS)
        wrong += any(answer.label in DIFFERENT for answer in answers)
    print(f"verdict, {name}, {clusters} clusters: {wrong / VERDICTS:.3f} wrong")
    share = exact_proportion(wrong, VERDICTS, 0.95).low
    assert share is not None
    assert share <= 0.05
