"""How often the interval holds the truth, and equivalence at the margin is claimed wrongly: the
fast part. tests/benchmarks/test_endpoint_calibration.py has the grid."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.endpoints.estimating import interval
from orchestrator.endpoints.judging import label_of
from orchestrator.endpoints.result import NO_EFFECT
from orchestrator.statistics import exact_proportion
from tests.orchestrator.endpoints.laws import Law

STUDIES = 600


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
    "law",
    [
        {"kind": "normal", "clusters": 64},
        {"kind": "normal", "clusters": 8, "size": 8, "alike": 0.5, "seed_sd": 1},
        {"kind": "normal", "clusters": 64, "seed_sd": 3},
        {"kind": "gamma", "clusters": 8, "size": 8, "alike": 0.5, "seed_sd": 3, "text_sd": 1.0},
        {"kind": "lognormal", "clusters": 8, "size": 8, "alike": 0.5, "text_sd": 1.0},
        {"kind": "lognormal", "clusters": 64, "seed_sd": 1.0, "in_errors": False},
    ],
    ids=str,
)
def test_the_interval_covers_and_at_the_margin_no_effect_is_seldom_claimed(
    law: dict[str, object], seeds: int
) -> None:
    made = Law(seeds=seeds, **law)  # type: ignore[arg-type]
    found = interval(made.draw(STUDIES, np.random.default_rng(6)), made.index(), 0.95)
    covered = int(((found.low <= made.truth) & (found.high >= made.truth)).sum())
    assert upper(covered) >= 0.93
    claimed = sum(
        label_of(low, high, made.truth) == NO_EFFECT
        for low, high in zip(found.low, found.high, strict=True)
    )
    assert lower(claimed) <= 0.05


def test_students_interval_alone_would_not_do() -> None:
    made = Law("lognormal", 5, 8, 8, seed_sd=3, text_sd=1.0, alike=0.5)
    draws = made.draw(STUDIES, np.random.default_rng(6))
    means = draws.mean(axis=-1)
    half = 2.776 * means.std(axis=-1, ddof=1) / 5**0.5
    by_t = int((np.abs(means.mean(axis=-1) - made.truth) <= half).sum())
    assert upper(by_t) < 0.93


def test_a_family_of_comparisons_with_one_arm_seldom_holds_a_false_effect() -> None:
    rng, arms, wrong = np.random.default_rng(7), 8, np.zeros(STUDIES, dtype=bool)
    law = Law("normal", 5, 64, seed_sd=1.0, centred=True)
    base = law.draw(STUDIES, rng)
    for _ in range(arms):
        differences = law.draw(STUDIES, rng) - base
        found = interval(differences, law.index(), 0.95, family=arms)
        wrong |= (found.low > 0) | (found.high < 0)
    assert lower(int(wrong.sum())) <= 0.05
