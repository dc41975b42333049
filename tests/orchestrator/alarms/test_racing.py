"""Who is first: run by run, as a label, and how often a label is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.alarms.racing import (
    Race,
    Races,
    hung_on_thresholds,
    label_of,
    lead_of,
    race,
    rate_of,
)
from orchestrator.calibration.alarm_laws import Fault, Law
from orchestrator.statistics import exact_proportion
from tests.orchestrator.alarms.simulated import Watch, level_of, races

INF = math.inf
NAMES = ("structure", "loss")


def same(found: Race) -> Races:
    """Thresholds that are known exactly."""
    return Races(found, found, found)


def test_every_run_is_one_of_four() -> None:
    first = np.array([1.0, 5.0, 3.0, INF, 2.0, INF])
    than = np.array([2.0, 4.0, 3.0, INF, INF, 7.0])
    assert race(first, than) == Race(first=2, than=2, ties=1, neither=1)


@pytest.mark.parametrize(
    ("found", "label"),
    [
        (Race(20, 0, 0, 0), "structure first"),
        (Race(0, 6, 14, 0), "loss first"),
        (Race(5, 0, 15, 0), "inconclusive"),
        (Race(13, 7, 0, 0), "inconclusive"),
        (Race(0, 0, 20, 0), "inconclusive"),
        (Race(1, 0, 0, 19), "inconclusive"),
        (Race(0, 0, 0, 20), "neither alarms"),
        (Race(0, 0, 0, 0), "n/a"),
    ],
)
def test_labels_go_by_the_runs_that_decide(found: Race, label: str) -> None:
    assert label_of(same(found), NAMES, 0.95) == label


def test_a_label_has_to_hold_when_the_thresholds_lean_against_it() -> None:
    clear, close = Race(20, 0, 0, 0), Race(12, 8, 0, 0)
    assert label_of(Races(clear, clear, close), NAMES, 0.95) == "inconclusive"
    assert hung_on_thresholds(Races(clear, clear, close), NAMES, 0.95) == "structure"
    assert label_of(Races(close, Race(0, 20, 0, 0), clear), NAMES, 0.95) == "structure first"
    assert hung_on_thresholds(same(close), NAMES, 0.95) == ""


def test_a_signal_that_never_alarms_counts_as_one_step_after_the_last() -> None:
    first, than = np.array([28.0, 30.0, INF]), np.array([INF, 20.0, INF])
    mean, median = lead_of(first, than, 0.0, 61.0, 0.95)
    assert mean.value == pytest.approx((33 - 10 + 0) / 3)
    assert median.value == 0.0


def test_who_is_first_is_told_as_often_as_it_is() -> None:
    """The exact interval of the share of runs, thresholds being what they are."""
    rng, covered, studies, truth = np.random.default_rng(10), 0, 400, 0.9
    for _ in range(studies):
        found = rate_of(int(rng.binomial(20, truth)), 20, 0.95)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert (exact_proportion(covered, studies, 0.95).high or 0) >= 0.95


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        ((False, False), Fault()),
        ((True, True), Fault(slope=1.0, scatter=0.0)),
        ((True, False), Fault(slope=0.5, scatter=0.1)),
    ],
)
def test_a_label_is_seldom_given_where_neither_is_first(
    pair: tuple[bool, bool], fault: Fault
) -> None:
    """Both drift alike towards thresholds that are made from 99 runs: by the sign test at these
    thresholds alone far more than 5 % of studies would call one of them first."""
    rng, wrong, studies = np.random.default_rng(11), 0, 40
    laws = [Law(heavy) for heavy in pair]
    levels = [level_of(law, 6000) for law in laws]
    naive = 0
    for _ in range(studies):
        one, other = (Watch.of(law, at, rng) for law, at in zip(laws, levels, strict=True))
        drawn = races(fault, (one, other), rng)
        wrong += label_of(drawn, NAMES, 0.95).endswith("first")
        naive += label_of(same(drawn.found), NAMES, 0.95).endswith("first")
    assert (exact_proportion(wrong, studies, 0.95).low or 0) <= 0.05
    assert wrong <= naive


def test_a_signal_that_is_far_ahead_is_called_first() -> None:
    rng, called = np.random.default_rng(12), 0
    law = Law()
    level = level_of(law, 6000)
    for _ in range(30):
        pair = (Watch.of(law, level, rng), Watch.of(law, level, rng))
        found = races(Fault(slopes=(3.0, 1.0)), pair, rng)
        called += label_of(found, NAMES, 0.95) == "structure first"
    assert called >= 27
