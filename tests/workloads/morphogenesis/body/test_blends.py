"""Alpha by step, for each blend."""

from __future__ import annotations

import math

import pytest

from workloads.morphogenesis.body.blends import alpha_schedule, blend_alpha


def test_the_schedule_of_five_steps_has_the_known_values_and_is_clamped_at_both_ends() -> None:
    values = [alpha_schedule(step, 5) for step in range(-1, 8)]
    known = [0, 0, 0.182, 0.378, 0.622, 0.818, 1, 1, 1]
    assert [round(value, 3) for value in values] == known
    assert values[1] == 0.0
    assert values[6] == 1.0


def test_the_schedule_is_symmetric_about_its_middle() -> None:
    for step in range(1, 10):
        assert alpha_schedule(step, 10, 2.0) == pytest.approx(
            1 - alpha_schedule(10 - step, 10, 2.0)
        )


def test_a_temperature_of_a_twelfth_of_the_steps_is_the_sigmoid_from_minus_6_to_6() -> None:
    for step in range(1, 24):
        x = -6 + 12 * step / 24
        assert alpha_schedule(step, 24, 24 / 12) == pytest.approx(1 / (1 + math.exp(-x)))


def test_a_temperature_near_0_is_a_jump_and_no_overflow() -> None:
    assert [alpha_schedule(step, 4, 1e-6) for step in (1, 3)] == [0.0, 1.0]


@pytest.mark.parametrize("blend", ["linear", "gated"])
def test_a_straight_line_is_clamped_at_both_ends(blend) -> None:
    values = [blend_alpha(blend, step, 4) for step in (-1, 0, 1, 2, 4, 9)]
    assert values == [0, 0, 0.25, 0.5, 1, 1]


def test_a_blend_of_one_step_goes_from_0_to_1() -> None:
    for blend in ("linear", "sigmoid", "gated"):
        assert [blend_alpha(blend, step, 1) for step in (0, 1)] == [0, 1]


def test_a_blend_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no blend 'cubic'; blends: linear, sigmoid, gated"):
        blend_alpha("cubic", 1, 5)
