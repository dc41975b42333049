"""What no endpoints' interval can do, and so what stands in the documents as their limit: `orrery
calibrate` has the grid of what they can.

``pytest tests/benchmarks/test_endpoint_calibration.py -m bench -s`` prints every cell's worst.
"""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.calibration.laws import Kind, Law
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.paired import interval

STUDIES = 2000
CLUSTERS = ((8, 8, 0.5), (8, 8, 0.0), (64, 1, 0.0))
"""Clusters, units in each, and what they have in common."""
SEED_SD = ((0.0, True), (1.0, True), (2.0, True), (3.0, True), (0.5, False), (1.0, False))
"""In standard errors of the mean over texts, or in units of the mean."""


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("kind", ["gamma", "lognormal"])
def test_skewed_seeds_around_0(kind: Kind, seeds: int) -> None:
    """No rule covers where a few seeds hide a long tail and the sign tells nothing: the limit."""
    worst = (1.0, "")
    for count, size, alike in CLUSTERS:
        clusters = np.repeat(np.arange(count), size)
        for text_sd in (0.5, 1.0):
            for sd, in_errors in SEED_SD:
                law = Law(kind, sd, in_errors, text_sd, alike)
                draws = law.draw(STUDIES, seeds, clusters, np.random.default_rng(10)) - 1.0
                found = interval(draws, clusters, 0.95)
                covered = int(((found.low <= 0) & (found.high >= 0)).sum())
                worst = min(worst, (covered / STUDIES, f"{law}, {count} clusters"))
                if in_errors and sd <= 1:
                    high = exact_proportion(covered, STUDIES, 0.95).high
                    assert high is not None
                    assert high >= 0.93
    print(f"{kind}, {seeds} seeds, centred: covered {worst}")
    assert worst[0] >= 0.85
