"""The interval of a mean of paired differences: t, and further out where scores are skewed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.statistics import mean, moments
from orchestrator.statistics.paired import interval

Floats = NDArray[np.float64]


def ends(differences: Floats, clusters: int | None = None, **parts: Any) -> Any:
    index = None if clusters is None else np.arange(differences.shape[-1]) % clusters
    found = interval(differences, index, 0.95, **parts)
    return float(found.low), float(found.high)


def test_over_seeds_alone_it_is_students_interval_where_nothing_is_skewed() -> None:
    means = np.array([-2.0, -1, 0, 1, 2]) + 0.5
    low, high = stats.t.interval(0.95, 4, means.mean(), stats.sem(means))
    assert ends(means[:, None]) == (pytest.approx(low), pytest.approx(high))


def test_a_few_seeds_of_a_tiny_figure_do_not_reach_to_infinity() -> None:
    tiny = np.array([[1e-12], [9e-12]])
    assert ends(tiny, family=32)[1] < 1e-6


def test_it_is_wider_for_a_family() -> None:
    draws = np.random.default_rng(0).normal(size=(5, 64))
    alone, of_many = ends(draws, 64), ends(draws, 64, family=12)
    assert of_many[0] < alone[0] < alone[1] < of_many[1]


def test_turned_around_it_is_the_same_interval() -> None:
    draws = np.random.default_rng(1).gamma(1.0, size=(5, 32))
    low, high = ends(draws, 8)
    assert ends(-draws, 8) == (pytest.approx(-high), pytest.approx(-low))


def test_the_end_on_the_side_of_the_long_tail_lies_further_out_and_the_other_where_t_has_it() -> (
    None
):
    draws = np.random.default_rng(2).lognormal(0, 1.2, size=(5, 64))
    by_cluster = draws.mean(axis=0)
    low, high = ends(draws, 64)
    assert high - draws.mean() > draws.mean() - low
    _, by_t = stats.t.interval(0.95, 63, by_cluster.mean(), stats.sem(by_cluster))
    assert high > by_t


def test_in_a_family_the_long_tails_end_moves_further_and_the_other_stays_where_t_is() -> None:
    draws = np.random.default_rng(2).lognormal(0, 1.2, size=(5, 64))
    draws -= draws.mean()  # of no sign, so that the clusters' skewness alone moves an end
    beyond, short = [], []
    for family in (1, 4, 16):
        low, high = ends(draws, 64, family=family)
        beyond.append((high - draws.mean()) - (draws.mean() - low))
        short.append(draws.mean() - low)
    assert 0 < beyond[0] < beyond[1] < beyond[2]
    by_t = mean(moments(draws, np.arange(64)))
    moved = np.array(short) - [float(by_t.half_width(0.95, family)) for family in (1, 4, 16)]
    assert moved == pytest.approx(moved[0])  # by the seeds' shift alone, which is one comparison's


def test_one_cluster_far_off_does_not_turn_the_correction_back() -> None:
    draws = np.zeros((5, 8)) + np.random.default_rng(9).normal(0, 1e-3, size=(5, 8))
    draws[:, 0] += 1.0
    highs = [ends(draws, 8, family=family)[1] for family in (1, 10, 100, 1000)]
    halves = [
        stats.t.ppf(1 - 0.025 / family, 7) * stats.sem(draws.mean(axis=0))
        for family in (1, 10, 100, 1000)
    ]
    moved = [high - draws.mean() - half for high, half in zip(highs, halves, strict=True)]
    assert moved == sorted(moved)


def test_a_figure_of_one_sign_reaches_as_far_as_its_logarithm_does() -> None:
    means = np.array([1.0, 2, 3, 4, 5])  # symmetric, so that nothing else moves an end
    half = stats.t.ppf(1 - 0.025 / 3, 4) * stats.sem(means)
    low, high = ends(means[:, None])
    assert high == pytest.approx(3 + half + half**2 / 6)
    assert low == pytest.approx(3 - stats.t.ppf(0.975, 4) * stats.sem(means))
    across = means - 2.5
    assert ends(across[:, None])[1] == pytest.approx(0.5 + stats.t.ppf(0.975, 4) * stats.sem(means))


def test_two_models_alone_have_an_interval_over_their_texts() -> None:
    draws = np.random.default_rng(3).normal(1.0, 1.0, size=(1, 40))
    low, high = ends(draws, 40, fixed=True)
    assert low < draws.mean() < high
    assert np.isnan(ends(draws, 40)[0])
    assert np.isnan(ends(draws, None, fixed=True)[0])


def test_one_cluster_and_one_seed_have_none() -> None:
    draws = np.random.default_rng(4).normal(size=(5, 6))
    assert np.isnan(ends(draws, 1)).all()
    assert np.isnan(ends(draws[:1], 6)).all()


def test_what_does_not_vary_is_still() -> None:
    found = interval(np.full((5, 8), 0.25), np.arange(8), 0.95)
    assert bool(found.still)
    assert float(found.value) == 0.25


def test_seeds_that_agree_leave_the_spread_over_texts() -> None:
    texts = np.random.default_rng(5).normal(size=32)
    low, high = ends(np.tile(texts, (5, 1)), 32)
    by_t = stats.t.interval(0.95, 31, texts.mean(), stats.sem(texts))
    assert low <= by_t[0] + 1e-12
    assert high >= by_t[1] - 1e-12
