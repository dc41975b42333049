"""Fieller's ratio, Dunnett's quantiles, exact rates, alignment of questions, and power."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics import (
    Noise,
    StudyModel,
    align,
    contrast,
    exact_proportion,
    floor_corrected_ratio,
    measured_noise,
    moments,
    questions_needed,
    resolution,
    scored_questions,
    simulate,
)
from orchestrator.statistics.simultaneous import dunnett_critical


def _arm(level: float, seed: int, spread: float = 1.0) -> object:
    rng = np.random.default_rng(seed)
    return moments(level + rng.normal(0, spread, (5, 1)) + rng.normal(0, 5, (5, 200)))


def test_the_ratio_is_counted_from_the_floor() -> None:
    control, reference, floor = (moments(np.full((2, 3), v)) for v in (30.0, 60.0, 20.0))

    assert floor_corrected_ratio(control, reference, floor).value == pytest.approx(0.25)


def test_the_ends_of_the_ratio_are_where_the_contrast_stops_differing_from_0() -> None:
    control, reference, floor = _arm(35, 0), _arm(60, 1), _arm(15, 2)
    ratio = floor_corrected_ratio(control, reference, floor, 0.90)  # type: ignore[arg-type]

    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.value is not None
    assert ratio.low < ratio.value < ratio.high
    for end in (ratio.low, ratio.high):
        one = contrast([control, reference, floor], [1, -end, end - 1])  # type: ignore[list-item]
        assert abs(one.value) == pytest.approx(float(one.half_width(0.90)), rel=1e-6)


def test_a_control_at_the_target_seldom_passes_for_one_above_it() -> None:
    levels = (25.0, 55.0, 15.0)  # the true ratio is 0.25
    model = StudyModel(arms=2, seeds=3, questions=100, seed_sd=2.2, persistent_share=0.5)
    passed, studies = 0, 150
    for arms in simulate(model, studies, seed=4, chunk=1):
        three = [
            replace(moments_of(a), mean=a.mean[0] + v) for a, v in zip(arms, levels, strict=True)
        ]
        low = floor_corrected_ratio(*three).low
        passed += low is not None and low >= 0.25

    assert exact_proportion(passed, studies).low <= 0.05  # type: ignore[operator]


def test_a_reference_not_clearly_above_the_floor_gives_no_interval() -> None:
    ratio = floor_corrected_ratio(_arm(15, 0), _arm(15.5, 1), _arm(15, 2))  # type: ignore[arg-type]

    assert (ratio.low, ratio.high) == (None, None)
    assert "floor" in ratio.reason


def test_one_seed_gives_a_ratio_without_interval() -> None:
    control, reference, floor = (moments([[v, v + 1]]) for v in (30.0, 60.0, 20.0))
    ratio = floor_corrected_ratio(control, reference, floor)

    assert ratio.value == pytest.approx(0.25)
    assert ratio.low is None


def test_dunnett_quantile_agrees_with_scipy() -> None:
    # scipy's Dunnett for balanced groups: the p-value at our critical value is 1 - confidence
    loadings = np.full(4, math.sqrt(0.5))
    critical = dunnett_critical(20, loadings, 0.95)
    correlation = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    draws = stats.multivariate_t(shape=correlation, df=20, seed=1).rvs(400_000)

    assert np.mean(np.abs(draws).max(axis=1) <= critical) == pytest.approx(0.95, abs=0.002)


def test_dunnett_of_one_comparison_is_student() -> None:
    assert dunnett_critical(7, np.array([0.5]), 0.95) == pytest.approx(
        stats.t.isf(0.025, 7), abs=1e-3
    )


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [(0, 5, 0.0, 0.5218), (5, 5, 0.4782, 1.0), (1, 5, 0.0051, 0.7164), (3, 10, 0.0667, 0.6525)],
)
def test_exact_intervals_match_published_tables(
    events: int, trials: int, low: float, high: float
) -> None:
    one = exact_proportion(events, trials)

    assert one.low == pytest.approx(low, abs=1e-4)
    assert one.high == pytest.approx(high, abs=1e-4)


def test_no_trials_have_no_rate() -> None:
    assert exact_proportion(0, 0).rate is None


def test_more_events_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="events"):
        exact_proportion(6, 5)


def test_questions_are_matched_by_id_and_unmeasured_ones_left_out() -> None:
    a = scored_questions([1.0, 2.0, 3.0, None], ["p", "q", "r", "s"], ["x", "x", "y", "y"])
    b = scored_questions([30.0, float("nan"), 10.0], ["r", "q", "p"], ["y", "x", "x"])
    aligned = align([[a], [b]])

    assert aligned is not None
    assert aligned.questions == 2
    assert aligned.dropped == 2
    assert [float(one.mean) for one in aligned.arms] == [2.0, 20.0]


def test_arms_without_a_common_question_align_to_nothing() -> None:
    assert align([[scored_questions([1.0], ["p"])], [scored_questions([1.0], ["q"])]]) is None


def test_a_question_in_two_clusters_is_refused() -> None:
    a, b = (scored_questions([1.0, 2.0], ["p", "q"], ["x", c]) for c in "xy")
    with pytest.raises(ValueError, match="'q' is in cluster 'x'"):
        align([[a], [b]])


def test_a_question_scored_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'p' was scored twice"):
        scored_questions([1.0, 2.0], ["p", "p"])


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores, 1 units"):
        scored_questions([1.0, 2.0], ["p"])


def test_resolution_matches_what_simulated_studies_show() -> None:
    noise = Noise(seed_sd=1.0, persistent_sd=12.0, residual_sd=16.0)
    total = noise.persistent_sd**2 + noise.residual_sd**2
    model = StudyModel(
        arms=1,
        seeds=5,
        questions=400,
        seed_sd=1.0,
        question_sd=math.sqrt(total),
        persistent_share=noise.persistent_sd**2 / total,
    )
    halves, found = [], []
    expected = resolution(noise, 5, 400)
    assert expected is not None
    for arms in simulate(model, 1000, seed=1):
        one = contrast([arms[1], arms[0]], [1.0, -1.0])
        halves.append(one.half_width(0.95))
        found.append(one.value + expected.smallest_difference > one.half_width(0.95))

    assert np.median(np.concatenate(halves)) == pytest.approx(expected.half_width, rel=0.1)
    assert np.mean(np.concatenate(found)) == pytest.approx(0.8, abs=0.06)


def test_questions_needed_reach_the_half_width_and_one_fewer_does_not() -> None:
    noise = Noise(seed_sd=0.2, persistent_sd=10.0, residual_sd=15.0)
    needed = questions_needed(noise, 5, 1.0, comparisons=10)

    assert needed is not None
    enough, short = (resolution(noise, 5, q, 10) for q in (needed, needed - 1))
    assert enough is not None
    assert short is not None
    assert enough.half_width <= 1.0 + 1e-9 < short.half_width + 1e-3


def test_no_number_of_questions_helps_against_noisy_seeds() -> None:
    assert questions_needed(Noise(3.0, 10.0, 10.0), 3, 1.0) is None


def test_one_seed_resolves_nothing() -> None:
    assert resolution(Noise(1.0, 1.0, 1.0), 1, 1000) is None


def test_measured_noise_finds_what_was_put_in() -> None:
    model = StudyModel(
        arms=30, seeds=5, questions=400, seed_sd=2.0, question_sd=20.0, persistent_share=0.25
    )
    (arms,) = simulate(model, 1, seed=2)
    flat = [moments_of(arm) for arm in arms]
    noise = measured_noise(flat, 400)

    assert noise is not None
    assert noise.seed_sd == pytest.approx(2.0, rel=0.2)
    assert noise.persistent_sd == pytest.approx(10.0, rel=0.15)
    assert noise.residual_sd == pytest.approx(math.sqrt(300), rel=0.05)


def test_noise_from_one_arm_is_not_known() -> None:
    assert measured_noise([moments([[1.0, 2.0], [2.0, 3.0]])], 2) is None


def test_noise_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="seed_sd"):
        Noise(float("nan"), 1.0, 1.0)


def moments_of(batched: object) -> object:
    names = ("mean", "seed_variance", "residual_variance", "influence")
    return replace(batched, **{name: getattr(batched, name)[0] for name in names})  # type: ignore[type-var]
