"""How often the interval holds the truth, and equivalence at the margin is claimed wrongly: the
fast part. `orrery calibrate` has the grid, with a study's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.calibration.laws import Law
from orchestrator.endpoints.judging import label_of
from orchestrator.endpoints.result import NO_EFFECT
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.paired import interval

STUDIES = 600
TRUTH = 1.0
Clusters = NDArray[np.intp]
SINGLE: Clusters = np.arange(64)
GROUPED: Clusters = np.repeat(np.arange(8), 8)


def upper(count: int) -> float:
    found = exact_proportion(count, STUDIES, 0.98).high
    assert found is not None
    return found


def lower(count: int) -> float:
    found = exact_proportion(count, STUDIES, 0.98).low
    assert found is not None
    return found


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("law", "clusters"),
    [
        (Law("normal"), SINGLE),
        (Law("normal", 1.0, alike=0.5), GROUPED),
        (Law("normal", 3.0), SINGLE),
        (Law("gamma", 3.0, text_sd=1.0, alike=0.5), GROUPED),
        (Law("lognormal", text_sd=1.0, alike=0.5), GROUPED),
        (Law("lognormal", 1.0, in_errors=False), SINGLE),
    ],
    ids=str,
)
def test_the_interval_covers_and_at_the_margin_no_effect_is_seldom_claimed(
    law: Law, clusters: Clusters, seeds: int
) -> None:
    draws = law.draw(STUDIES, seeds, clusters, np.random.default_rng(6))
    found = interval(draws, clusters, 0.95)
    covered = int(((found.low <= TRUTH) & (found.high >= TRUTH)).sum())
    assert upper(covered) >= 0.93
    claimed = sum(
        label_of(low, high, TRUTH) == NO_EFFECT
        for low, high in zip(found.low, found.high, strict=True)
    )
    assert lower(claimed) <= 0.05


def test_students_interval_alone_would_not_do() -> None:
    law = Law("lognormal", 3.0, text_sd=1.0, alike=0.5)
    draws = law.draw(STUDIES, 5, GROUPED, np.random.default_rng(6))
    means = draws.mean(axis=-1)
    half = 2.776 * means.std(axis=-1, ddof=1) / 5**0.5
    by_t = int((np.abs(means.mean(axis=-1) - TRUTH) <= half).sum())
    assert upper(by_t) < 0.93


def test_a_family_of_comparisons_with_one_arm_seldom_holds_a_false_effect() -> None:
    rng, arms, wrong = np.random.default_rng(7), 8, np.zeros(STUDIES, dtype=bool)
    law = Law("normal", 1.0)
    base = law.draw(STUDIES, 5, SINGLE, rng)
    for _ in range(arms):
        differences = law.draw(STUDIES, 5, SINGLE, rng) - base
        found = interval(differences, SINGLE, 0.95, family=arms)
        wrong |= (found.low > 0) | (found.high < 0)
    assert lower(int(wrong.sum())) <= 0.05
