"""How often the interval of a claim's share holds the truth, whatever way runs differ: the grid.

``pytest tests/benchmarks/test_claim_calibration.py -m bench -s`` prints the worst of every law.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.statistics import exact_proportion
from orchestrator.statistics.over_runs import share

Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Floats]

STUDIES = 2000
RUNS = (5, 10, 20, 40, 99)
UNITS = 26


def scattered(mean: float, alike: float) -> Law:
    """Shares of 26 units; `alike`: how much the units of a run have in common."""
    a, b = mean * (1 - alike) / alike, (1 - mean) * (1 - alike) / alike
    return lambda rng, size: rng.binomial(UNITS, rng.beta(a, b, size)) / UNITS


def dropping(part: float, others: float, to_zero: bool) -> Law:
    """A part of the runs has a share of 0, or any; the others of 26 units so many within."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
        low = np.zeros(size) if to_zero else rng.random(size)
        rest = rng.binomial(UNITS, others, size) / UNITS
        return np.where(rng.random(size) < part, low, rest)

    return draw


LAWS: dict[str, tuple[Law, float]] = {
    f"scattered {mean:g}, alike {alike:g}": (scattered(mean, alike), mean)
    for mean, alike in ((0.9, 0.05), (0.9, 0.3), (0.5, 0.1), (0.98, 0.1), (0.98, 0.5), (0.995, 0.1))
}
for part in (0.02, 0.05, 0.1, 0.2):
    for others in (1.0, 0.9, 0.6):
        LAWS[f"{part:g} of runs 0, others {others:g}"] = (
            dropping(part, others, True),
            (1 - part) * others,
        )
    LAWS[f"{part:g} of runs anything, others 1"] = (dropping(part, 1.0, False), 1 - part / 2)


@pytest.mark.parametrize("name", list(LAWS))
def test_shares(name: str) -> None:
    law, truth = LAWS[name]
    rng = np.random.default_rng(8)
    found = {}
    for runs in RUNS:
        ends = [share(list(one), 0.95) for one in law(rng, (STUDIES, runs))]
        covered = sum(
            e.low is not None and e.high is not None and e.low - 1e-12 <= truth <= e.high + 1e-12
            for e in ends
        )
        found[runs] = covered / STUDIES
        high = exact_proportion(covered, STUDIES, 0.95).high
        assert high is not None
        assert high >= 0.93
    print(f"{name}: " + ", ".join(f"{runs} runs {held:.3f}" for runs, held in found.items()))
