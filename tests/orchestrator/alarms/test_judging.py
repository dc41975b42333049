"""From series to an answer: arms, labels, what is missing, and how it is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.alarms import StudyAlarms, alarm_metrics
from orchestrator.alarms.judging import judge_alarms
from orchestrator.alarms.series import ArmRuns, Run, Series
from tests.orchestrator.alarms.simulated import arm, rule

HEALTHY = arm("healthy", range(99))
UNSEEN = arm("unseen", range(1000, 1200))
COLLAPSE = arm("collapse", range(2000, 2020), onset=8, loss=10, structure=19)
EXPLOSION = arm("explosion", range(3000, 3020), onset=0, loss=2)
CALM = arm("calm", range(4000, 4020))
DRAWN = arm("drawn", range(5000, 5020), onset=3, structure=12)


@pytest.fixture(scope="module")
def found() -> StudyAlarms:
    asked = rule(synthetic=["drawn"])
    return judge_alarms(asked, [HEALTHY, UNSEEN, DRAWN, COLLAPSE, EXPLOSION, CALM])


def test_each_arm_is_called_by_who_is_first_in_it(found: StudyAlarms) -> None:
    labels = {one.arm: one.label for one in found.arms}
    assert labels == {
        "collapse": "loss first",
        "explosion": "loss first",
        "calm": "neither alarms",
        "drawn": "synthetic signal",
    }
    assert found.state == "answered"
    assert found.calibrated


def test_a_synthetic_arm_stands_last_and_is_not_in_the_answer_or_its_family(
    found: StudyAlarms,
) -> None:
    drawn = found.arms[-1]
    assert (drawn.arm, drawn.synthetic, drawn.first.events) == ("drawn", True, 20)
    assert found.family == 3
    assert "drawn is a synthetic signal: the lead there is made, and does not count" in found.answer
    assert "drawn: " not in found.answer


def test_times_are_told_from_the_onset_with_runs_that_never_alarm(found: StudyAlarms) -> None:
    collapse = found.find("collapse")
    assert collapse is not None
    structure, loss = collapse.times("structure"), collapse.times("loss")
    assert structure is not None
    assert loss is not None
    assert (structure.step.value, structure.delay.value, structure.delay.low) == (19, 11, 11)
    assert (loss.step.value, loss.delay.value, loss.mean_delay.value) == (10, 2, 2.0)
    assert collapse.median_lead.value == collapse.median_lead.low == -9
    assert collapse.lead.value == -9
    explosion = found.find("explosion")
    assert explosion is not None
    never = explosion.times("structure")
    assert never is not None
    assert not never.step.reached
    assert never.mean_delay.value == 40
    assert explosion.lead.value == 2 - 40


def test_the_answer_says_who_is_first_by_how_much_and_at_what_rate(found: StudyAlarms) -> None:
    assert found.answer.startswith("With thresholds for 2 % false alarms per run: collapse: loss")
    assert "loss alarms first in 20 of 20 [0.79, 1.00] runs, by 9 [9, 9] steps" in found.answer
    assert "structure never alarms" in found.answer
    assert "calm: neither alarms in any of 20 runs (each in at most 16.8 % of runs)" in found.answer
    assert any("of 200 unseen healthy runs" in one for one in found.notes)


def test_labels_have_intervals_that_are_simultaneous_over_the_arms_that_count(
    found: StudyAlarms,
) -> None:
    collapse, drawn = found.find("collapse"), found.find("drawn")
    assert collapse is not None
    assert drawn is not None
    assert collapse.than.low == pytest.approx((0.05 / 3 / 2) ** (1 / 20))
    assert drawn.first.low == pytest.approx(0.025 ** (1 / 20))


def test_areas_rates_and_trajectories_are_there_for_pictures(found: StudyAlarms) -> None:
    roc = {(one.arm, one.signal): one for one in found.roc}
    assert roc["collapse", "loss"].area.value == 1.0
    calm = roc["calm", "loss"].area
    assert calm.low is not None
    assert calm.high is not None
    assert calm.low < 0.5 < calm.high
    assert {one.arm for one in found.roc} == {"drawn", "collapse", "explosion", "calm"}
    collapse = found.find("collapse")
    assert collapse is not None
    rates = [one.rate for one in collapse.by_rate]
    assert rates == sorted(rates)
    assert 0.02 in rates
    assert [one.than.events for one in collapse.by_rate][:3] == [20, 20, 20]
    structure = found.threshold("structure")
    assert structure is not None
    assert structure.first_step == 5
    assert structure.mean[:5] == (None,) * 5
    assert structure.low[9] is not None
    assert structure.threshold is not None
    assert structure.mean[9] is not None
    assert structure.mean[9] - structure.low[9] == pytest.approx(structure.threshold)
    assert structure.at_least is not None
    assert structure.at_most is not None
    assert structure.at_least <= structure.threshold <= structure.at_most
    assert {(one.arm, len(one.mean)) for one in found.trajectories if one.signal == "loss"} == {
        (name, 40) for name in ("healthy", "unseen", "drawn", "collapse", "explosion", "calm")
    }


def test_every_run_has_a_row_for_each_signal(found: StudyAlarms) -> None:
    assert len(found.runs) == 2 * (99 + 200 + 4 * 20)
    row = next(one for one in found.runs if (one.arm, one.signal) == ("collapse", "loss"))
    assert (row.seed, row.onset, row.alarm_step, row.delay, row.part) == (2000, 8, 10, 2, "arm")
    calibration = [one for one in found.runs if one.part == "calibration"]
    alarms = sum(one.alarm_step is not None for one in calibration if one.signal == "loss")
    assert alarms == 1  # the threshold is the largest but one of 99


def test_it_is_plain_json_and_metrics(found: StudyAlarms) -> None:
    data = json.loads(json.dumps(found.to_json()))
    assert data["arms"][0]["label"] == "loss first"
    named = alarm_metrics(found)
    assert named["alarms/collapse/than"] == 1.0
    assert named["alarms/collapse/median_lead/high"] == -9
    assert named["alarms/explosion/structure/delay"] is None
    assert named["alarms/collapse/lead"] == -9
    assert "alarms/collapse/lead/low" not in named  # bounds, and no interval of what was seen
    assert (named["alarms/collapse/lead/lower_bound"] or 0) < -9
    assert named["alarms/calibrated"] == 1.0
    assert alarm_metrics(None) == {}


def test_before_every_trial_has_ended_nothing_is_called() -> None:
    waiting = replace(COLLAPSE, runs=COLLAPSE.runs[:7], waiting=13)
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, waiting])
    assert found.answer == "No verdict yet: 306 of 319 trials have ended."
    assert found.state == "no verdict yet"
    assert found.arms[0].label == "no verdict yet"
    assert found.arms[0].than.events == 7


@pytest.mark.parametrize(
    ("calibration", "unseen", "told"),
    [
        (98, 200, "it takes 99 calibration runs, and there are 98"),
        (99, 199, "it takes 200 unseen runs, and there are 199"),
    ],
)
def test_too_few_healthy_runs_leave_figures_without_labels(
    calibration: int, unseen: int, told: str
) -> None:
    healthy = replace(HEALTHY, runs=HEALTHY.runs[:calibration])
    fresh = replace(UNSEEN, runs=UNSEEN.runs[:unseen])
    found = judge_alarms(rule(), [healthy, fresh, COLLAPSE])
    assert found.state == "not calibrated"
    assert told in found.answer
    assert found.arms[0].label == "not calibrated"
    assert found.arms[0].than.events == 20


def test_with_a_handful_of_runs_the_threshold_says_what_rate_it_has() -> None:
    few = [replace(one, runs=one.runs[:5], planned=5) for one in (HEALTHY, UNSEEN, COLLAPSE)]
    found = judge_alarms(rule(), few)
    assert found.thresholds[0].target == pytest.approx(1 / 6)
    assert found.arms[0].than.events == 5
    assert found.arms[0].lead.low is not None
    assert [one.rate for one in found.arms[0].by_rate] == [0.2, 0.3, 0.4, 0.5]
    assert any("no threshold below 16.7 % false alarms" in one for one in found.notes)


def test_a_signal_whose_unseen_runs_alarm_too_often_is_not_calibrated() -> None:
    wild = arm("unseen", range(1000, 1020), loss=30)
    unseen = replace(UNSEEN, runs=(*UNSEEN.runs[20:], *wild.runs))
    found = judge_alarms(rule(), [HEALTHY, unseen, COLLAPSE])
    structure, loss = found.threshold("structure"), found.threshold("loss")
    assert structure is not None
    assert loss is not None
    assert structure.calibrated
    assert not loss.calibrated
    assert loss.false_alarms.events >= 20
    assert "up to " in found.answer
    assert "Next: give healthy more seeds" in found.answer
    assert "unseen seeds that nobody has looked at" in found.answer
    assert found.arms[0].label == "not calibrated"


def test_a_signal_that_tells_nothing_from_its_onset_on_has_an_area_of_a_half() -> None:
    late = [arm("late", range(6000 + i, 6200, 4), onset=onset) for i, onset in enumerate((35, 20))]
    mixed = ArmRuns("mixed", (*late[0].runs, *late[1].runs), planned=100)
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, late[0], mixed])
    for one in found.roc:
        assert one.area.value == pytest.approx(0.5, abs=0.12)  # .1 against whole healthy runs
        assert np.trapezoid(one.detected, one.false_alarms) == pytest.approx(one.area.value)
        assert one.area.low is not None
        assert one.area.high is not None
        assert one.area.low < 0.5 < one.area.high


def test_no_healthy_runs_and_no_runs_at_all_are_told() -> None:
    found = judge_alarms(rule(), [COLLAPSE])
    assert found.state == "not calibrated"
    assert found.thresholds[0].threshold is None
    one = found.arms[0]
    assert (one.runs, one.neither, one.first.rate, one.lead.value) == (20, 0, None, None)
    assert one.signals[0].detected.rate is None
    assert one.signals[0].delay.reached  # n/a: without a threshold nobody knows
    assert "alarms.calibration: there is no arm 'healthy'; there are: collapse" in found.problems
    nothing = judge_alarms(rule(), [])
    assert nothing.steps == ()
    assert nothing.arms == ()


def test_failed_replicates_are_told_and_counted_apart() -> None:
    lost = replace(COLLAPSE, planned=22, failed=2)
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, lost])
    one = found.arms[0]
    assert (one.label, one.runs, one.planned, one.failed) == ("loss first", 20, 22, 2)
    assert one.why == "2 of 22 runs have no result"
    assert "(2 of 22 runs have no result)" in found.answer
    assert "collapse: 2 of 22 runs failed" in found.problems


def test_an_arm_whose_runs_lack_a_signal_is_not_measured() -> None:
    bare = ArmRuns("bare", tuple(Run(i, f"b{i}", {}) for i in range(3)), planned=3)
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, COLLAPSE, bare])
    one = found.find("bare")
    assert one is not None
    assert (one.label, one.runs, one.first.rate, one.lead.value) == ("n/a", 0, None, None)
    assert "bare: n/a (3 of 3 runs have no result)" in found.answer


def test_a_loss_that_is_not_finite_alarms_though_its_run_ends_there() -> None:
    runs = []
    for run in COLLAPSE.runs[:6]:
        loss = Series.of([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, math.nan])
        runs.append(Run(run.seed, run.trial, {**run.signals, "loss": loss}, 0))
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, ArmRuns("bursts", tuple(runs), planned=6)])
    one = found.find("bursts")
    assert one is not None
    times = one.times("loss")
    assert times is not None
    assert times.step.value == 6
    assert one.label == "loss first"
    assert any("not equally long (their last steps: 6 to 39)" in note for note in found.notes)
    rows = [row for row in found.runs if row.arm == "bursts" and row.signal == "loss"]
    assert {(row.not_finite, row.largest) for row in rows} == {(6, None)}


def test_alarms_before_the_onset_are_false_ones_and_counted_apart() -> None:
    early = arm("early", range(6000, 6020), onset=25, loss=10, structure=30)
    late = arm("late", range(6000, 6020), onset=25, structure=30)
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, early, late])
    one, other = found.find("early"), found.find("late")
    assert one is not None
    assert other is not None
    loss = one.times("loss")
    assert loss is not None
    assert (loss.before_onset, loss.step.value) == (20, 25)
    assert other.label == "structure first"
    assert "Alarms before the onset are false ones" in " ".join(found.notes)


def test_a_signal_that_was_never_measured_loses_no_race() -> None:
    silent, part = [], []
    for run in COLLAPSE.runs:
        nothing = Series.of([None] * 40)
        silent.append(Run(run.seed, run.trial, {**run.signals, "structure": nothing}, 8))
        begun = Series.of([1.0 if step in (5, 6) else None for step in range(40)])
        part.append(Run(run.seed, run.trial, {**run.signals, "structure": begun}, 8))
    arms = [ArmRuns(name, tuple(runs), planned=20) for name, runs in (("s", silent), ("p", part))]
    found = judge_alarms(rule(), [HEALTHY, UNSEEN, COLLAPSE, *arms])
    for name in ("s", "p"):
        one = found.find(name)
        assert one is not None
        assert (one.label, one.runs, one.lead.value, one.median_lead.value) == (
            "n/a",
            0,
            None,
            None,
        )
        structure, loss = one.times("structure"), one.times("loss")
        assert structure is not None
        assert loss is not None
        assert (structure.detected.rate, structure.step.value) == (None, None)
        assert structure.step.reached
        assert loss.detected.events == 20
        assert "structure could not alarm in 20 of 20" in one.why
        assert f"{name}: n/a (" in found.answer
    assert {one.signal for one in found.roc if one.arm in ("s", "p")} == {"loss"}


def test_unseen_runs_that_cannot_alarm_check_nothing() -> None:
    bare = [
        Run(one.seed, one.trial, {**one.signals, "loss": Series.of([None] * 40)})
        for one in UNSEEN.runs[:60]
    ]
    found = judge_alarms(rule(), [HEALTHY, replace(UNSEEN, runs=(*UNSEEN.runs[60:], *bare))])
    loss = found.threshold("loss")
    assert loss is not None
    assert (loss.unseen_runs, loss.calibrated) == (140, False)


def test_steps_that_only_the_runs_of_an_arm_have_are_told_to_have_no_threshold() -> None:
    def cut(one: ArmRuns) -> ArmRuns:
        short = {
            run: {
                name: Series(s.steps[:20], s.values[:20], s.measured[:20])
                for name, s in run.signals.items()
            }
            for run in one.runs
        }
        runs = tuple(replace(run, signals=signals) for run, signals in short.items())
        return replace(one, runs=runs)

    late = arm("late", range(2000, 2020), loss=25, structure=25)
    found = judge_alarms(rule(), [cut(arm("healthy", range(300, 399))), cut(UNSEEN), late])
    told = "loss has no threshold at steps 20 to 39, which healthy runs do not have"
    assert found.arms[0].label == "neither alarms"
    assert told in found.arms[0].why
    assert told in found.answer


def test_healthy_runs_that_break_and_ones_that_hold_nothing_are_told_apart() -> None:
    def with_loss(one: ArmRuns, values: list[float | None]) -> ArmRuns:
        runs = tuple(
            replace(run, signals={**run.signals, "loss": Series.of(values)}) for run in one.runs
        )
        return replace(one, runs=runs)

    broken = with_loss(HEALTHY, [0.0] * 39 + [math.nan])
    loss = judge_alarms(rule(), [broken, UNSEEN, COLLAPSE]).threshold("loss")
    assert loss is not None
    assert loss.threshold is None
    assert loss.why.startswith("calibration runs hold values that are not finite")
    empty = with_loss(HEALTHY, [math.nan] * 40)
    found = judge_alarms(rule(), [empty, UNSEEN, COLLAPSE])
    assert found.arms[0].times("loss") is not None
    assert not [one for one in found.roc if one.signal == "loss"]
