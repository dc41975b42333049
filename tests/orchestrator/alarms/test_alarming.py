"""The first step that alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.alarms.alarming import alarm_steps, before_onset, from_onset
from orchestrator.alarms.series import Series, stack

STEPS = np.array([0, 10, 20])


def test_an_alarm_is_the_first_step_strictly_above_the_threshold() -> None:
    deviations = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    assert alarm_steps(deviations, STEPS, 2.0).tolist() == [20.0, 0.0, math.inf]


def test_a_value_that_is_not_finite_alarms_and_a_missing_one_never_does() -> None:
    deviations = np.array([[-math.inf, math.inf, 0.0], [-math.inf, -math.inf, -math.inf]])
    assert alarm_steps(deviations, STEPS, 5.0).tolist() == [10.0, math.inf]
    assert alarm_steps(deviations, STEPS, math.inf).tolist() == [math.inf, math.inf]


def test_steps_before_and_from_the_onset_are_told_apart() -> None:
    deviations = np.array([[9.0, 9.0, 9.0], [9.0, 0.0, 9.0]])
    onsets = np.array([10.0, 20.0])
    after, early = (way(deviations, STEPS, onsets) for way in (from_onset, before_onset))
    assert alarm_steps(after, STEPS, 5.0).tolist() == [10.0, 20.0]
    assert alarm_steps(early, STEPS, 5.0).tolist() == [0.0, 0.0]
    assert alarm_steps(before_onset(deviations, STEPS, onsets * 0), STEPS, 5.0)[0] == math.inf


def test_without_steps_nothing_alarms() -> None:
    assert alarm_steps(np.zeros((2, 0)), STEPS[:0], 0.0).tolist() == [math.inf, math.inf]


def test_series_come_in_the_order_of_their_steps() -> None:
    found = Series.of([3.0, None, 1.0], [20, 10, 0])
    whole = stack([found, Series.of([5.0], [10])], STEPS)
    assert np.array_equal(whole.values, [[1.0, np.nan, 3.0], [np.nan, 5.0, np.nan]], equal_nan=True)
    assert whole.measured.tolist() == [[True, False, True], [False, True, False]]


@pytest.mark.parametrize(
    ("steps", "told"), [([0, 0], "a step stands there twice"), ([0], "1 steps for 2 values")]
)
def test_steps_that_are_none_are_refused(steps: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Series.of([1.0, 2.0], steps)
