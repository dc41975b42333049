"""Names and orders of coalitions."""

from __future__ import annotations

import pytest

from telemetry.counterfactual import (
    CoalitionError,
    ablation,
    bits,
    check_factors,
    coalition_of,
    from_name,
    full,
    in_order,
    mask,
    named,
)

SLOTS = ("early", "mid", "late")


def test_the_first_factor_is_the_leftmost_bit() -> None:
    early = coalition_of({"early"}, SLOTS)
    assert (bits(early), mask(early), named(early, SLOTS)) == ("100", 4, "early")
    assert [bits(each) for each in full(2)] == ["00", "01", "10", "11"]


def test_every_coalition_has_a_name_of_its_own_that_reads_back() -> None:
    named_ones = [named(each, SLOTS) for each in full(3)]
    assert named_ones[:2] == ["none", "late"]
    assert named_ones[-1] == "early+mid+late"
    assert [from_name(name, SLOTS) for name in named_ones] == list(full(3))


def test_an_ablation_is_all_each_off_and_none() -> None:
    assert [bits(each) for each in ablation(3)] == ["111", "011", "101", "110", "000"]
    assert [bits(each) for each in ablation(1)] == ["1", "0"]


def test_order_is_binary_and_without_repeats() -> None:
    assert in_order([(True, False), (False, True), (True, False)]) == ((False, True), (True, False))


def test_too_many_factors_to_enumerate_are_refused() -> None:
    with pytest.raises(CoalitionError, match=r"131,072.*16 factors.*sample them with a budget"):
        full(17)


@pytest.mark.parametrize("wrong", [("a", "a"), ("a", ""), ("a+b",), ("none",)])
def test_factors_that_could_be_confused_are_refused(wrong: tuple[str, ...]) -> None:
    with pytest.raises(CoalitionError, match="factor"):
        check_factors(wrong)


def test_a_factor_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(CoalitionError, match="no factor fourth; factors: early, mid, late"):
        coalition_of({"fourth"}, SLOTS)
    with pytest.raises(CoalitionError, match=r"2 bits \(10\) for 3 factors"):
        named((True, False), SLOTS)
