"""How often endpoints' intervals hold the truth, how often "no effect" is claimed of a difference
that is as large as the margin, and how often a family holds a miss: the grid.

``pytest tests/benchmarks/test_endpoint_calibration.py -m bench -s`` prints every cell's worst.
"""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.endpoints.estimating import interval
from orchestrator.statistics import exact_proportion
from tests.orchestrator.endpoints.laws import Kind, Law

STUDIES = 2000
FAMILY = 8
CLUSTERS = ((8, 8, 0.5), (8, 8, 0.0), (64, 1, 0.0))
"""Clusters, units in each, and what they have in common."""
SEED_SD = ((0.0, True), (1.0, True), (2.0, True), (3.0, True), (0.5, False), (1.0, False))
"""In standard errors of the mean over texts, or in units of the mean."""


def laws(kind: Kind, seeds: int, *, centred: bool = False) -> list[Law]:
    return [
        Law(kind, seeds, clusters, size, sd, in_errors, text_sd, alike, centred)
        for clusters, size, alike in CLUSTERS
        for text_sd in (0.5, 1.0)
        for sd, in_errors in SEED_SD
    ]


def at_most(count: int) -> float:
    high = exact_proportion(count, STUDIES, 0.95).high
    assert high is not None
    return high


def at_least(count: int) -> float:
    low = exact_proportion(count, STUDIES, 0.95).low
    assert low is not None
    return low


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("kind", ["normal", "gamma", "lognormal"])
def test_one_comparison(kind: Kind, seeds: int) -> None:
    worst, claimed = (1.0, ""), (0.0, "")
    for law in laws(kind, seeds):
        found = interval(law.draw(STUDIES, np.random.default_rng(8)), law.index(), 0.95)
        covered = int(((found.low <= law.truth) & (found.high >= law.truth)).sum())
        within = int(((found.high <= law.truth) & (found.low >= -law.truth)).sum())
        worst = min(worst, (covered / STUDIES, str(law)))
        claimed = max(claimed, (within / STUDIES, str(law)))
        assert at_most(covered) >= 0.93
        assert at_least(within) <= 0.05
    print(f"{kind}, {seeds} seeds: covered {worst}; no effect at the margin {claimed}")


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("kind", ["normal", "gamma", "lognormal"])
def test_families_with_one_comparator(kind: Kind, seeds: int) -> None:
    """Arms alike in law whose true differences are 0: none may be called an effect."""
    worst = (0.0, "")
    for law in laws(kind, seeds):
        if not law.in_errors:
            continue
        rng = np.random.default_rng(9)
        base, wrong = law.draw(STUDIES // 2, rng), np.zeros(STUDIES // 2, dtype=bool)
        for _ in range(FAMILY):
            found = interval(law.draw(STUDIES // 2, rng) - base, law.index(), 0.95, FAMILY)
            wrong |= (found.low > 0) | (found.high < 0)
        worst = max(worst, (float(wrong.mean()), str(law)))
        low = exact_proportion(int(wrong.sum()), STUDIES // 2, 0.95).low
        assert low is not None
        assert low <= 0.05
    print(f"{kind}, {seeds} seeds: families with a false effect {worst}")


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("kind", ["gamma", "lognormal"])
def test_skewed_seeds_around_0(kind: Kind, seeds: int) -> None:
    """No rule covers where a few seeds hide a long tail and the sign tells nothing: the limit."""
    worst = (1.0, "")
    for law in laws(kind, seeds, centred=True):
        found = interval(law.draw(STUDIES, np.random.default_rng(10)), law.index(), 0.95)
        covered = int(((found.low <= 0) & (found.high >= 0)).sum())
        worst = min(worst, (covered / STUDIES, str(law)))
        if law.in_errors and law.seed_sd <= 1:
            assert at_most(covered) >= 0.93
    print(f"{kind}, {seeds} seeds, centred: covered {worst}")
    assert worst[0] >= 0.85
