"""What is said of texts, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.phase_coupling.measuring.text_metrics import (
    agreement,
    correlation,
    distinct,
    lag_one,
    repetition,
)


def test_distinct_runs_are_counted_over_all_runs() -> None:
    tokens = [1, 2, 3, 1, 2, 3]
    assert distinct(tokens, 1) == 3 / 6
    assert distinct(tokens, 2) == 3 / 5
    assert distinct(tokens, 3) == 3 / 4
    assert distinct([1, 2], 3) is None
    assert distinct([7] * 10, 2) == 1 / 9


def test_repetition_looks_back_thirty_two_tokens_and_no_further() -> None:
    assert repetition([5, *range(100, 131), 5]) == 1 / 33
    assert repetition([5, *range(100, 132), 5]) == 0
    assert repetition([4] * 8) == 7 / 8
    assert repetition([]) is None


def test_lag_one_is_none_where_nothing_varies_or_too_little_was_seen() -> None:
    assert lag_one([0.5, 0.5, 0.5, 0.5]) is None
    assert lag_one([0.5 + 1e-9, 0.5, 0.5 + 2e-9]) is None
    assert lag_one([0.1, 0.9]) is None


def test_lag_one_tells_a_slow_series_from_an_alternating_one() -> None:
    slow, alternating = np.linspace(0, 1, 200), np.tile([0.0, 1.0], 100)
    assert lag_one(slow.tolist()) == pytest.approx(0.985, abs=0.01)
    assert lag_one(alternating.tolist()) == pytest.approx(-0.995, abs=0.01)


def test_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40), rng.normal(size=40)
    assert correlation(a.tolist(), b.tolist()) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation([1, 1, 1], [1, 2, 3]) is None
    assert correlation([1, 2], [1, 2]) is None


def test_texts_agree_until_they_part() -> None:
    assert agreement([1, 2, 3], [1, 9, 3]) == 1
    assert agreement([9], [1]) == 0
    assert agreement([1, 2, 3], [1, 2, 3]) == 3
