"""Figures over runs: exact where they can be, honest where runs do not vary."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from orchestrator.claims.estimating import estimate
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.over_runs import fewest_for_median, median, share

Draw = Callable[[np.random.Generator, int], "np.ndarray[tuple[int, int], np.dtype[np.float64]]"]


def test_shares_that_are_all_one_are_known_as_well_as_n_of_n_runs() -> None:
    for runs in (1, 5, 20, 99):
        found = estimate("share", [1.0] * runs, 0.95)
        exact = exact_proportion(runs, runs)
        assert found.low == pytest.approx(exact.low)
        assert found.high == 1.0


def test_equal_shares_leave_room_on_both_sides() -> None:
    found = share([0.6] * 20, 0.95)
    unseen = 1 - 0.025 ** (1 / 20)
    assert (found.low, found.high) == (
        pytest.approx(0.6 * (1 - unseen)),
        pytest.approx(0.6 + 0.4 * unseen),
    )


def test_shares_that_vary_have_at_least_students_interval() -> None:
    values = [0.1, 0.35, 0.5, 0.55, 0.9, 0.6]
    low, high = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
    found = share(values, 0.95)
    assert found.low is not None
    assert found.high is not None
    assert max(found.low, 0) <= max(low, 0)
    assert found.high >= min(high, 1)


def test_runs_with_an_event_are_a_proportion() -> None:
    found = estimate("runs", [0.0] * 20, 0.95)
    assert (found.events, found.value, found.low) == (0, 0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))


@pytest.mark.parametrize("confidence", [0.95, 0.9875])
def test_a_median_lies_between_the_order_statistics_of_the_sign_test(confidence: float) -> None:
    for runs in (6, 9, 20, 99):
        x = np.arange(runs, dtype=float)
        found = median(list(x), confidence)
        if runs < fewest_for_median(confidence):
            assert (found.low, found.high) == (None, None)
            assert "takes" in found.why
            continue
        k = int(stats.binom.ppf((1 - confidence) / 2, runs, 0.5))
        assert (found.low, found.high) == (x[k - 1], x[runs - k])
        assert 1 - 2 * stats.binom.cdf(k - 1, runs, 0.5) >= confidence


def test_five_runs_have_no_median_interval_and_six_have() -> None:
    assert fewest_for_median(0.95) == 6
    assert median([1.0, 2, 3, 4, 5], 0.95).why == "an interval takes 6 runs"
    assert median([1.0, 2, 3, 4, 5, 6], 0.95).low == 1


def test_a_mean_has_students_interval_moved_out_by_its_skewness() -> None:
    even, tail = [1.0, 2, 3, 4, 5], [1.0, 1, 1, 1, 9]
    low, high = stats.t.interval(0.95, 4, np.mean(even), stats.sem(even))
    found = estimate("mean", even, 0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    low, high = stats.t.interval(0.95, 4, np.mean(tail), stats.sem(tail))
    found = estimate("mean", tail, 0.95)
    assert found.high is not None
    assert found.low == pytest.approx(low)
    assert found.high > high


def test_equal_runs_tell_no_interval_of_a_mean() -> None:
    found = estimate("mean", [2.0] * 9, 0.95)
    assert (found.value, found.low) == (2.0, None)
    assert "all runs are equal" in found.why


def test_a_run_that_is_not_finite_leaves_no_mean_and_no_median() -> None:
    for statistic in ("mean", "median"):
        found = estimate(statistic, [1.0, math.nan, 2.0], 0.95)  # type: ignore[arg-type]
        assert (found.value, found.low) == (None, None)
        assert found.why == "1 of 3 runs hold values that are not finite"


def test_nothing_measured_is_no_figure() -> None:
    assert estimate("share", [], 0.95).value is None


def _counts(p: float, spread: float) -> Draw:
    a, b = p * (1 - spread) / spread, (1 - p) * (1 - spread) / spread
    return lambda rng, n: rng.binomial(26, rng.beta(a, b, (800, n))) / 26


def _lumps(p: float, rest: float) -> Draw:
    return lambda rng, n: np.where(
        rng.random((800, n)) < p, 0.0, rng.binomial(26, rest, (800, n)) / 26
    )


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (_counts(0.9, 0.3), 0.9),
        (_counts(0.98, 0.5), 0.98),
        (_counts(0.5, 0.1), 0.5),
        (_lumps(0.05, 1.0), 0.95),
        (_lumps(0.2, 1.0), 0.8),
        (_lumps(0.05, 0.9), 0.855),
    ],
)
@pytest.mark.parametrize("runs", [5, 20])
def test_the_interval_of_a_share_covers_where_students_alone_does_not(
    draw: Draw, truth: float, runs: int
) -> None:
    shares = draw(np.random.default_rng(5), runs)
    found = [share(list(one), 0.95) for one in shares]
    covered = np.mean([f.low - 1e-12 <= truth <= f.high + 1e-12 for f in found])  # type: ignore[operator]
    assert covered >= 0.935
