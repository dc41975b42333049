"""Thresholds: what they are made of, and what rate of false alarms they keep to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orchestrator.alarms.rule import Direction
from orchestrator.alarms.series import Series, Stack, stack
from orchestrator.alarms.thresholds import (
    conformal_rank,
    conformal_threshold,
    healthy,
    largest,
    met_rate,
    threshold_limits,
    upper_bound,
    why_not,
)
from orchestrator.calibration.alarm_laws import Law, stacked
from orchestrator.statistics import exact_proportion
from tests.orchestrator.alarms.simulated import RATE, STEPS, Floats, Watch

NAN = math.nan


@pytest.mark.parametrize(
    ("count", "rate", "rank"), [(99, 0.02, 98), (100, 0.02, 99), (199, 0.02, 196), (5, 0.02, 6)]
)
def test_the_rank_is_that_of_the_conformal_quantile(count: int, rate: float, rank: int) -> None:
    assert conformal_rank(count, rate) == rank
    maxima = np.arange(1.0, count + 1)
    assert conformal_threshold(maxima[::-1], rate) == min(rank, count)


def test_a_calibration_run_is_held_against_the_mean_of_the_others() -> None:
    values = np.random.default_rng(1).normal(size=(7, 4))
    found = healthy(_some(values), "either")
    for i in range(7):
        others = np.delete(values, i, axis=0).mean(axis=0)
        assert found.largest[i] == pytest.approx(np.abs(values[i] - others).max())
    assert np.allclose(found.mean, values.mean(axis=0))


@pytest.mark.parametrize(("direction", "expected"), [("above", 1), ("below", 3), ("either", 3)])
def test_only_deviations_in_the_direction_that_counts_count(
    direction: Direction, expected: float
) -> None:
    known = healthy(_some(np.array([[1.0, 1.0], [-1.0, -1.0]])), direction)
    assert largest(known.deviations(_some(np.array([[1.0, -3.0]])))).tolist() == [expected]


def test_a_value_that_is_not_finite_deviates_without_limit_and_a_missing_one_not_at_all() -> None:
    calm = [Series.of([None, 1.0, 2.0]), Series.of([None, 3.0, 2.0])]
    odd = [Series.of([NAN, 2.0, 2.0]), Series.of([None, None, 2.0]), Series.of([None, math.inf, 2])]
    steps = np.arange(3)
    known = healthy(stack(calm, steps), "below")
    found = known.deviations(stack(odd, steps))
    assert found.tolist() == [[math.inf, 0, 0], [-math.inf, -math.inf, 0], [-math.inf, math.inf, 0]]
    assert np.isnan(known.mean[0])


def test_a_calibration_run_that_is_not_finite_does_not_spoil_the_mean_of_the_others() -> None:
    known = healthy(_some(np.array([[1.0], [3.0], [NAN]])), "either")
    assert known.mean.tolist() == [2.0]
    assert known.largest.tolist() == [2.0, 2.0, math.inf]


def test_runs_of_unlike_lengths_are_compared_where_calibration_runs_are() -> None:
    short, long = Series.of([1.0, 1.0]), Series.of([1.0, 2.0, 3.0])
    steps = np.arange(3)
    known = healthy(stack([short, long, long], steps), "either")
    assert known.mean.tolist() == [1.0, 5 / 3, 3.0]
    alone = healthy(stack([short, short, long], steps), "either")
    assert np.isnan(alone.mean[2])
    assert largest(alone.deviations(stack([long], steps))).tolist() == [pytest.approx(2 / 3)]


def test_without_any_step_that_can_alarm_nothing_does() -> None:
    known = healthy(stack([], np.arange(3)), "either")
    assert conformal_threshold(known.largest, RATE) is None
    assert largest(known.deviations(stack([Series.of([1.0, 2.0, 3.0])], np.arange(3)))) == -math.inf
    assert met_rate(0, RATE) is None


def test_too_few_runs_keep_to_a_larger_rate() -> None:
    assert met_rate(5, RATE) == pytest.approx(1 / 6)
    assert met_rate(99, RATE) == RATE


@pytest.mark.parametrize(
    ("calibration", "unseen", "threshold", "false", "told"),
    [
        (98, 200, 1.0, 0, "takes 99 calibration runs, and there are 98"),
        (99, 199, 1.0, 0, "takes 200 unseen runs, and there are 199"),
        (99, 200, math.inf, 0, "calibration runs hold values that are not finite"),
        (99, 200, -math.inf, 0, "no step"),
        (99, 200, None, 0, "no step"),
        (99, 200, 1.0, 13, "10.1 % of healthy runs may alarm falsely, and 10 % is allowed"),
        (99, 200, 1.0, 12, ""),
    ],
)
def test_what_is_not_calibrated_says_why(
    calibration: int, unseen: int, threshold: float | None, false: int, told: str
) -> None:
    upper = upper_bound(false, unseen, 0.95)
    found = why_not(calibration, unseen, threshold, upper, 0.10)
    assert told in found
    assert bool(found) == bool(told)


def test_the_bound_is_one_sided() -> None:
    assert upper_bound(0, 200, 0.95) == pytest.approx(1 - 0.05 ** (1 / 200))


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 400), rate=st.sampled_from([0.01, 0.02, 0.1, 0.5]))
def test_limits_of_a_threshold_enclose_it_as_often_as_they_say(count: int, rate: float) -> None:
    """By the binomial law of how many runs lie above it."""
    maxima, tail = np.arange(1.0, count + 1), 0.025
    low, high = threshold_limits(maxima, rate, tail)
    above_high = 0 if math.isinf(high) else count - high + 1
    above_low = count + 1 if math.isinf(low) else count - low + 1
    assert stats.binom.cdf(above_high - 1, count, rate) <= tail
    assert stats.binom.sf(above_low - 1, count, rate) <= tail
    assert low <= high
    if not math.isinf(low):  # the next one would say more than it may
        assert stats.binom.sf(above_low - 2, count, rate) > tail


@pytest.mark.parametrize("law", [Law(), Law(heavy=True)])
def test_new_healthy_runs_alarm_as_seldom_as_asked(law: Law) -> None:
    """2 % of healthy runs, over calibration sets and new runs; nearly every check is passed."""
    rng, rates, passed = np.random.default_rng(2), [], 0
    for _ in range(80):
        watch = Watch.of(law, 1.0, rng)
        false = int((watch.unseen > watch.limit).sum())
        rates.append(false / len(watch.unseen))
        passed += (upper_bound(false, len(watch.unseen), 0.95) or 1.0) <= 0.10
    assert abs(float(np.mean(rates)) - RATE) <= 4 * float(np.std(rates)) / math.sqrt(len(rates))
    assert (exact_proportion(passed, 80, 0.99).high or 0) >= 0.95


def test_a_threshold_by_step_would_alarm_in_many_healthy_runs() -> None:
    """Why thresholds are of the largest deviation per run: 5 % by step is far more by run."""
    values = Law(share=0.8).draw(2000, len(STEPS), np.random.default_rng(3))
    by_step = (np.abs(values) > np.quantile(np.abs(values), 0.95, axis=0)).any(axis=1)
    assert by_step.mean() > 0.3


def _some(values: Floats) -> Stack:
    steps = np.arange(values.shape[1])
    return stack([Series.of(row.tolist()) for row in values], steps)


def test_all_measured_runs_stack_as_they_are() -> None:
    values = Law().draw(3, len(STEPS), np.random.default_rng(4))
    assert np.array_equal(stacked(values).values, _some(values).values)
