"""Labels and bands, at their exact edges."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.verdict import Rule
from orchestrator.verdict.labels import interval_label, point_band, screen_label
from orchestrator.verdict.numbers import decimals, interval, shown, signed

Make = Callable[..., Rule]


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (2.0, 9.0, "at least 2 (marginal)"),
        (1.999999, 9.0, "inconclusive"),
        (5.0, 9.0, "at least 5 (significant)"),
        (4.999999, 9.0, "at least 2 (marginal)"),
        (10.0, 11.0, "at least 10 (strong)"),
        (-3.0, 1.999999, "less than 2"),
        (-3.0, 2.0, "inconclusive"),
        (-3.0, -0.000001, "harm"),
        (-3.0, 0.0, "less than 2"),
        (-1.0, 3.0, "inconclusive"),
        (None, None, "inconclusive"),
        (None, 1.0, "inconclusive"),
    ],
)
def test_labels_at_the_edges(
    make_rule: Make, low: float | None, high: float | None, label: str
) -> None:
    assert interval_label(make_rule(), low, high) == label


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [(-9.0, -2.0, "at least 2 (marginal)"), (0.5, 3.0, "harm"), (-1.5, 0.5, "less than 2")],
)
def test_less_is_better_turns_the_labels(
    make_rule: Make, low: float, high: float, label: str
) -> None:
    assert interval_label(make_rule(direction="lower"), low, high) == label


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (-0.9, 0.9, "equivalent"),
        (-1.0, 0.9, "less than 2"),
        (-0.9, 1.0, "less than 2"),
        (-0.9, -0.1, "harm"),
    ],
)
def test_no_effect_is_claimed_only_inside_the_margin(
    make_rule: Make, low: float, high: float, label: str
) -> None:
    assert interval_label(make_rule(equivalence_margin=1.0), low, high) == label


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [(11.0, 12.0, "candidate"), (-9.0, -3.0, "inconclusive"), (-1.0, 1.0, "inconclusive")],
)
def test_a_screen_has_only_candidates(make_rule: Make, low: float, high: float, label: str) -> None:
    assert screen_label(make_rule(), low, high) == label


@pytest.mark.parametrize(
    ("delta", "band"),
    [
        (1.9999, "<2"),
        (-7.0, "<2"),
        (2.0, "2-5 (marginal)"),
        (4.9999, "2-5 (marginal)"),
        (5.0, "5-10 (significant)"),
        (10.0, ">=10 (strong)"),
        (None, ""),
    ],
)
def test_bands_of_the_point_estimate_are_half_open(
    make_rule: Make, delta: float | None, band: str
) -> None:
    assert point_band(make_rule(), delta) == band


def test_numbers_that_are_missing_are_not_0() -> None:
    assert [shown(one) for one in (None, float("nan"), float("inf"), 0.0)] == ["n/a"] * 3 + ["0.0"]
    assert interval(None, 2.0) == "n/a"


def test_a_rounded_away_minus_is_not_shown() -> None:
    assert shown(-0.01) == "0.0"
    assert signed(-0.01) == "+0.0"
    assert signed(-1.26) == "-1.3"


@pytest.mark.parametrize(("first", "places"), [(2.0, 1), (0.02, 3), (10.0, 1), (0.5, 2)])
def test_decimals_follow_the_first_band(first: float, places: int) -> None:
    assert decimals([(first, "x")]) == places
