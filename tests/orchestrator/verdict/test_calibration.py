"""Stated comparisons share an arm: their simultaneous ends hold over simulated studies."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.statistics import difference, exact_proportion, moments

STUDIES, SEEDS, QUESTIONS, COMPARED = 2000, 5, 60, 3


@pytest.mark.parametrize(
    ("seed_sd", "noisy"), [(0.0, 1.0), (1.0, 1.0), (3.0, 1.0), (3.0, 4.0), (1.0, 4.0)]
)
def test_ends_of_stated_comparisons_hold_together(seed_sd: float, noisy: float) -> None:
    """One arm against three others of true difference 0; `seed_sd` in standard errors of a mean
    over questions, and the shared arm `noisy` times as noisy."""
    rng = np.random.default_rng(3)
    questions = 20.0
    clusters = np.arange(QUESTIONS) // 3
    arms = []
    for arm in range(COMPARED + 1):
        seeds = rng.normal(0, seed_sd * questions / np.sqrt(QUESTIONS), (STUDIES, SEEDS, 1))
        lasting = rng.normal(0, 8.0, (STUDIES, 1, QUESTIONS // 3)).repeat(3, axis=2)
        own = seeds + lasting + rng.normal(0, questions, (STUDIES, SEEDS, QUESTIONS))
        arms.append(moments((noisy if arm == 0 else 1.0) * own, clusters))
    outside = np.zeros(STUDIES, dtype=bool)
    covered = 0
    for other in arms[1:]:
        found = difference(arms[0], other)
        outside |= np.abs(found.value) > found.half_width(0.95, COMPARED)
        covered += int((np.abs(found.value) <= found.half_width(0.95)).sum())

    missed = exact_proportion(int(outside.sum()), STUDIES, 0.95)
    assert missed.low is not None
    assert missed.high is not None
    assert missed.low <= 0.05
    assert missed.high <= 0.065
    assert covered / (STUDIES * COMPARED) >= 0.93
