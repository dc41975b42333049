"""Medians of times of which some never come, and means of bounded numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.statistics import exact_proportion
from orchestrator.statistics.bounded import area_under_roc, bounded_mean
from orchestrator.statistics.roc import corners
from orchestrator.statistics.times import median_of, median_time, order_rank

INF = math.inf


@pytest.mark.parametrize(("count", "rank"), [(5, 0), (6, 1), (9, 2), (20, 6), (100, 40)])
def test_order_statistics_are_those_of_the_tables(count: int, rank: int) -> None:
    assert order_rank(count, 0.95) == rank


def test_a_median_time_counts_runs_that_never_alarm_as_later_than_every_step() -> None:
    found = median_time(np.array([3.0] * 6 + [5.0] * 6 + [INF] * 8), 0.95)
    assert (found.value, found.low, found.high, found.open_high) == (5.0, 3.0, None, True)


def test_a_median_that_fewer_than_half_reach_is_not_reached() -> None:
    found = median_time(np.array([3.0] * 8 + [INF] * 12), 0.95)
    assert found.value is None
    assert not found.reached
    assert (found.low, found.open_low, found.open_high) == (3.0, False, True)


def test_nobody_alarms_and_nobody_is_there() -> None:
    never = median_time(np.full(20, INF), 0.95)
    assert never.open_low
    assert never.open_high
    assert median_time(np.zeros(0), 0.95).value is None
    assert median_of(np.zeros(0), 0.95).value is None
    assert bounded_mean([], 0, 1, 0.95).value is None


def test_too_few_runs_have_a_median_without_an_interval() -> None:
    found = median_time(np.array([1.0, 2.0, 3.0]), 0.95)
    assert (found.value, found.low, found.high, found.open_high) == (2.0, None, None, False)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-9, 9), min_size=6, max_size=40))
def test_the_interval_of_a_median_holds_it(values: list[int]) -> None:
    found = median_of(np.array(values, dtype=float), 0.95)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("events", [0, 1, 7, 20])
def test_of_zeros_and_ones_the_interval_of_a_mean_is_clopper_and_pearsons(events: int) -> None:
    exact = exact_proportion(events, 20, 0.95)
    found = bounded_mean([1.0] * events + [0.0] * (20 - events), 0, 1, 0.95)
    assert found.value == exact.rate
    assert found.low == pytest.approx(exact.low, abs=0.01)
    assert found.high == pytest.approx(exact.high, abs=0.01)


def test_runs_that_do_not_vary_have_an_interval_all_the_same() -> None:
    found = bounded_mean([-8.0] * 20, -60, 60, 0.95)
    unseen = 1 - 0.025 ** (1 / 20)
    assert found.low == pytest.approx(-8 - unseen * 52, abs=0.5)
    assert found.high == pytest.approx(-8 + unseen * 68, abs=0.5)


def test_a_number_beyond_the_limits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must lie in 0 to 1, got 0\.5 to 2"):
        bounded_mean([0.5, 2.0], 0, 1, 0.95)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_ends_lie_within_the_limits_and_around_the_mean(values: list[float]) -> None:
    found = bounded_mean(values, 0, 1, 0.95)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("never", [0.05, 0.3])
def test_mean_leads_are_held_where_one_run_in_so_many_is_unlike_the_others(never: float) -> None:
    """A t interval covers .64 to .95 of these (docs/verdicts.md)."""
    rng, covered, studies = np.random.default_rng(6), 0, 100
    truth = never * 33 + (1 - never) * -9
    for _ in range(studies):
        lead = np.where(rng.random(20) < never, 33.0, rng.normal(-9, 1, 20))
        found = bounded_mean(lead, -51, 51, 0.95)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert (exact_proportion(covered, studies, 0.95).high or 0) >= 0.95
    assert covered / studies >= 0.93


def test_the_area_is_the_chance_to_deviate_more_and_has_an_interval_where_all_do() -> None:
    rng = np.random.default_rng(7)
    ill, calm = rng.normal(1, 1, 20), rng.normal(0, 1, 200)
    found = area_under_roc(ill, calm, 0.95)
    expected = np.mean([(x > calm).mean() for x in ill])
    assert found.value == pytest.approx(expected)
    assert area_under_roc(np.ones(20), np.ones(200), 0.95).value == 0.5
    apart = area_under_roc(np.full(20, INF), calm, 0.95)
    assert (apart.value, apart.high) == (1.0, 1.0)
    assert apart.low is not None
    assert 0.8 < apart.low < 0.9
    assert area_under_roc(np.zeros(0), calm, 0.95).value is None


def test_areas_are_held_where_runs_with_a_fault_vary_more() -> None:
    from scipy import special

    shift, spread = 4.0, 4.0
    rng, covered, studies = np.random.default_rng(8), 0, 30
    truth = float(special.ndtr(shift / math.sqrt(1 + spread**2)))
    for _ in range(studies):
        found = area_under_roc(rng.normal(shift, spread, 20), rng.normal(size=200), 0.95)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert (exact_proportion(covered, studies, 0.95).high or 0) >= 0.95


def test_corners_of_the_staircase_enclose_the_area() -> None:
    rng = np.random.default_rng(9)
    ill, calm = np.round(rng.normal(1, 1, 20), 1), np.round(rng.normal(0, 1, 50), 1)
    false, detected = corners(ill, calm)
    assert (false[0], detected[0], false[-1], detected[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert all(np.diff(false) >= 0)
    assert all(np.diff(detected) >= 0)
    assert np.trapezoid(detected, false) == pytest.approx(area_under_roc(ill, calm, 0.95).value)
    assert corners(ill, calm[:0]) == ((), ())


def test_signals_that_tell_runs_apart_have_three_corners() -> None:
    assert corners(np.array([5.0, 6.0]), np.array([1.0, 2.0])) == ((0, 0, 1), (0, 1, 1))
