"""Simulated studies with a known answer: coverage, and false claims of whole families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.statistics import (
    StudyModel,
    difference,
    exact_proportion,
    moments,
    simulate,
    simultaneous_half_widths,
)

STUDIES = 500
MODEL = StudyModel(arms=10, questions=500, question_sd=22.0)
SE = MODEL.question_se()
# (seed SD in question standard errors, persistent share, cluster size, noisy arm)
HARD = [
    (0.0, 0.0, 1, None),
    (0.0, 1.0, 1, 1),
    (0.5, 0.5, 10, None),
    (1.0, 0.5, 1, 0),
    (2.0, 1.0, 1, 1),
    (3.0, 0.0, 1, 0),
    (3.0, 0.5, 1, 1),
    (3.0, 1.0, 1, None),
]


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("spread", "persistent", "cluster_size", "noisy"), HARD)
def test_intervals_cover_and_families_hold_few_false_claims(
    seeds: int, spread: float, persistent: float, cluster_size: int, noisy: int | None
) -> None:
    model = replace(
        MODEL,
        seeds=seeds,
        seed_sd=spread * SE,
        persistent_share=persistent,
        cluster_size=cluster_size,
        cluster_share=0.3 if cluster_size > 1 else 0.0,
        noisy_arm=noisy,
    )
    covered, false_claims = [], 0
    for arms in simulate(model, STUDIES, seed=7):
        estimates = [difference(arm, arms[0]) for arm in arms[1:]]
        covered.append([abs(one.value) <= one.half_width(0.95) for one in estimates])
        outside = [abs(one.value) > one.half_width(0.95, model.arms) for one in estimates]
        false_claims += int(np.any(outside, axis=0).sum())

    # 500 studies leave a Monte Carlo error: the bounds hold for the truth, so the limits of the
    # exact intervals must reach them
    by_arm = np.concatenate(covered, axis=1).sum(axis=1)
    upper = [exact_proportion(int(count), STUDIES, 0.99).high for count in by_arm]
    assert min(one for one in upper if one is not None) >= 0.93
    assert np.mean(by_arm) / STUDIES >= 0.93
    low = exact_proportion(false_claims, STUDIES, 0.95).low
    assert low is not None
    assert low <= 0.05
    assert false_claims / STUDIES <= 0.065


def test_intervals_cover_where_few_clusters_hold_most_questions() -> None:
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(40):
        sizes = np.maximum(1, np.round(15 * np.exp(0.8 * rng.standard_normal(20)))).astype(int)
        index = np.repeat(np.arange(20), sizes)
        cluster = rng.standard_normal((25, 6, 1, 20))[..., index] * 0.5
        scores = cluster + rng.standard_normal((25, 6, 5, index.size))
        arms = [moments(scores[:, arm], index) for arm in range(6)]
        estimates = [difference(arm, arms[0]) for arm in arms[1:]]
        covered.append([abs(one.value) <= one.half_width(0.95) for one in estimates])

    assert np.mean(covered) >= 0.93


def test_a_real_difference_is_found() -> None:
    model = replace(MODEL, seeds=5, seed_sd=0.5 * SE)
    found = []
    for arms in simulate(model, 200, seed=3):
        one = difference(arms[1], arms[0])
        low, _ = (one.value + 8.0) - one.half_width(0.95, 10), None
        found.append(low > 0.0)

    assert np.mean(np.concatenate(found)) > 0.95


def test_dunnett_holds_its_level_and_is_narrower_than_bonferroni() -> None:
    model = replace(MODEL, seeds=5, seed_sd=1.0 * SE, arms=4, questions=50)
    false_claims, narrower, studies = 0, 0, 60
    for arms in simulate(model, studies, seed=5, chunk=1):
        flat = [replace(a, **_first(a)) for a in arms]
        wide = simultaneous_half_widths(flat[1:], flat[0], method="bonferroni")
        tight = simultaneous_half_widths(flat[1:], flat[0], method="dunnett")
        values = [float(difference(a, flat[0]).value) for a in flat[1:]]
        false_claims += any(abs(v) > h for v, h in zip(values, tight, strict=True))
        narrower += all(t <= w * (1 + 1e-6) for t, w in zip(tight, wide, strict=True))

    assert narrower == studies
    low = exact_proportion(false_claims, studies).low
    assert low is not None
    assert low <= 0.05


def test_the_same_seed_gives_the_same_studies() -> None:
    first = next(simulate(MODEL, 2, seed=11))
    again = next(simulate(MODEL, 2, seed=11))

    assert np.array_equal(first[3].mean, again[3].mean)


def _first(arm: object) -> dict[str, object]:
    """The arrays of the only study in a batch of one."""
    names = ("mean", "seed_variance", "residual_variance", "influence")
    return {name: getattr(arm, name)[0] for name in names}
