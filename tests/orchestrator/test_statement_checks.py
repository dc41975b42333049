"""Alarms and claims of a study file: what cannot mean anything is refused before a trial runs, and
a plan says what is too little for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Study, UsageError
from orchestrator.home import Home
from tests.orchestrator.quick_study import QUICK, arm
from tests.orchestrator.series_study import alarm_rule, claims, seeded, series_study


def refusal(mapping: dict[str, Any], home: Home) -> str:
    """The one line with which a study is refused, at the latest when it is planned."""
    with pytest.raises(UsageError) as caught:
        Study.load(mapping, home=home.root).plan()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(name: str, **parts: Any) -> dict[str, Any]:
    return {**claims(), name: {**claims()[name], **parts}}


ZZ = {"structure": {"column": "zz"}, "loss": {"column": "loss"}}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"alarms": alarm_rule(calibration="helthy")}, "Did you mean 'healthy'?"),
        ({"alarms": alarm_rule(unseen="nowhere")}, "arm in alarms.unseen 'nowhere'"),
        ({"alarms": alarm_rule(synthetic=["drown"])}, "arm in alarms.synthetic 'drown'"),
        ({"alarms": alarm_rule(synthetic=["unseen"])}, "which is a healthy arm"),
        ({"alarms": alarm_rule(onset="onset")}, "alarms.onset 'onset'"),
        ({"alarms": alarm_rule(onset="train/loss")}, "alarms.onset 'train/loss'"),
        ({"claims": changed("middle", arm="nobody")}, "arm in claims.middle 'nobody'"),
        ({"claims": changed("middle", column="lss")}, "Did you mean 'loss'?"),
        ({"claims": changed("middle", split="test")}, "split in claims.middle 'test'"),
        ({"claims": changed("in-zone", expected=[2, 3])}, "expected has 2, but a share figure"),
        ({"claims": changed("collapses", expected=[None, 9])}, "a part of all, from 0 to 1"),
        ({"alarms": alarm_rule(split="tests")}, "split in alarms 'tests'"),
        ({"alarms": alarm_rule(signals=ZZ)}, "column in alarms.signals.structure 'zz'"),
        ({"calibration": []}, "is empty, so that the arm has no run"),
        ({"calibration": "0-9", "unseen": "9-12"}, "share 1 run (seed 9): thresholds must be"),
        ({"calibration": "0-9", "unseen": "5-12"}, "share 5 runs (seed 5 and 4 more)"),
    ],
)
def test_what_names_nothing_or_itself_is_refused(
    parts: dict[str, Any], told: str, home: Home
) -> None:
    assert told in refusal(series_study(**parts), home)


def test_alarms_need_an_arm_to_ask_of(home: Home) -> None:
    arms = [seeded(arm("healthy"), "0-9"), seeded(arm("unseen"), "100-109")]
    design = {"kind": "configurations", "arms": arms}
    told = refusal(series_study(design=design, alarms=alarm_rule(synthetic=[])), home)
    assert "there are only healthy and unseen" in told


@pytest.mark.parametrize("part", ["alarms", "claims"])
def test_a_search_and_curves_take_neither(part: str, home: Home) -> None:
    both = {"alarms": alarm_rule(), "claims": claims()}
    search = {
        "kind": "search",
        "space": {"ratio_rise": {"uniform": [0, 1]}},
        "budget": 3,
        "metric": "train/loss",
    }
    study = series_study(design=search)
    for name in both:
        if name != part:
            del study[name]
    told = refusal(study, home)
    assert f"'{part}' asks of the steps of trials, and the design search chooses" in told


def test_both_stand_beside_a_verdict_and_alone(home: Home) -> None:
    rule = {
        "metric": "final_loss",
        "comparator": "healthy",
        "bands": [{"at_least": 1.0, "name": "much"}],
    }
    names = set()
    for parts in (
        {"verdict": rule},
        {"claims": {}},
        {"alarms": None},
        {"verdict": rule, "alarms": None},
        {},
    ):
        study = Study.load(series_study(**parts), home=home.root)  # type: ignore[arg-type]
        assert len(study.plan().trials) == 34
        names.add(study.instance)
    assert len(names) == 5


def test_a_study_without_either_keeps_its_name(home: Home) -> None:
    plain = series_study(alarms=None, claims={}, workload=QUICK)
    plain["design"]["arms"] = [arm("plain")]
    without = {key: value for key, value in plain.items() if key not in ("alarms", "claims")}
    assert (
        Study.load(plain, home=home.root).instance == Study.load(without, home=home.root).instance
    )


def test_arms_of_one_configuration_and_other_seeds_are_other_runs(home: Home) -> None:
    trials = Study.load(series_study(), home=home.root).trials()
    assert len({trial.identity for trial in trials}) == len(trials) == 34
    assert [t.seed for t in trials if t.arm == "unseen"] == [100, 101, 102, 103, 104, 105]


def test_a_plan_says_that_thresholds_will_not_be_calibrated(home: Home) -> None:
    notes = Study.load(series_study(), home=home.root).plan().notes
    assert any(
        "too few healthy runs to calibrate (healthy has 10 of 99, unseen has 6 of 200): every arm "
        'that is not synthetic will be called "not calibrated"' in note
        for note in notes
    )
    enough = Study.load(series_study("0-98", "100-299", seeds=[300]), home=home.root).plan().notes
    assert not any("too few healthy" in note for note in enough)
    assert any("Thresholds from 99 runs of healthy, checked on 200 of unseen" in n for n in enough)


def test_a_plan_says_which_medians_have_no_interval(home: Home) -> None:
    notes = Study.load(series_study("0-5"), home=home.root).plan().notes
    assert any(note.startswith("claims middle: a median has no interval") for note in notes)
    assert any("it takes 8 of the arm" in note for note in notes)
    assert not any(
        "claims middle" in n for n in Study.load(series_study(), home=home.root).plan().notes
    )
    few = Study.load(series_study("0-2"), home=home.root).plan().notes
    assert any("claims on healthy: fewer than 5 runs" in note for note in few)


def test_healthy_arms_of_unlike_configurations_are_refused(home: Home) -> None:
    study = series_study()
    study["design"]["arms"][1]["overrides"] = {"ratio_rise": 0.1}
    told = refusal(study, home)
    assert "the arms healthy and unseen differ in ratio_rise" in told


def test_a_plan_says_which_arms_share_seeds_with_the_thresholds(home: Home) -> None:
    notes = Study.load(series_study(seeds="8-11"), home=home.root).plan().notes
    assert any(
        "arms share seeds with healthy (collapse 2, explosion 2, drawn 2)" in note for note in notes
    )
    assert not any(
        "share seeds" in n for n in Study.load(series_study(), home=home.root).plan().notes
    )


def test_a_plan_says_that_no_unseen_runs_could_pass_the_check(home: Home) -> None:
    rule = alarm_rule(allowed=0.001)
    study = series_study("0-98", "100-299", seeds=[300], alarms=rule)
    notes = Study.load(study, home=home.root).plan().notes
    assert any("200 unseen runs cannot show a rate of at most 0.001" in note for note in notes)
