"""The governor speaks up when training has broken, and only then."""

from __future__ import annotations

import math

import pytest

from workloads.morphogenesis.governor import Governor


def settled(loss: float = 0.2, epochs: int = 12) -> Governor:
    governor = Governor(classes=10)
    for _ in range(epochs):
        assert governor.judge(loss) is None
    return governor


@pytest.mark.parametrize("loss", [math.nan, math.inf, None])
def test_a_lost_number_is_a_panic_at_once(loss: float | None) -> None:
    assert Governor(10).judge(loss) == "nonfinite"


def test_a_network_that_fell_back_to_guessing_is_lobotomised() -> None:
    guessing = math.log(10)
    assert settled().judge(guessing * 1.064) == "lobotomy"
    assert settled().judge(guessing * 1.066) is None
    assert settled(loss=0.61 * guessing).judge(guessing) is None, "it had learnt too little"
    assert settled(epochs=9).judge(guessing) is None, "too little was seen of it"


def test_an_explosion_is_believed_the_second_time_in_a_row() -> None:
    governor = settled()
    assert governor.judge(50.0) is None
    assert governor.suspicious
    assert governor.judge(50.0) == "explosion"
    assert not governor.suspicious


def test_an_explosion_that_passes_is_forgotten() -> None:
    governor = settled()
    assert governor.judge(50.0) is None
    assert governor.judge(0.2) is None
    assert governor.judge(50.0) is None, "not in a row"


@pytest.mark.parametrize(
    ("before", "loss"),
    [([0.2] * 12, 10.0), ([4.0] * 12, 12.0), ([1.0, 5.0] * 6, 14.0)],
    ids=["not above 10", "not above 3 times the mean", "within 6 deviations"],
)
def test_what_meets_only_some_conditions_is_no_explosion(before: list[float], loss: float) -> None:
    governor = Governor(10)
    for one in before:
        governor.judge(one)
    assert governor.judge(loss) is None
    assert not governor.suspicious


def test_suspicious_losses_do_not_enter_the_history() -> None:
    governor = settled()
    governor.judge(50.0)
    assert max(governor.history) == 0.2


def test_it_goes_on_from_its_state() -> None:
    governor, other = settled(), Governor(10)
    governor.judge(50.0)
    other.restore(governor.to_state())
    assert other.judge(50.0) == "explosion"
