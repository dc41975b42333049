"""Whether a rule or seeds were chosen after results: told by earlier instances of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Selection, Study
from orchestrator.cli.plan_text import summary_lines
from orchestrator.earlier import earlier_notes
from orchestrator.findings import findings_of
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.rule_hash import rule_hash
from tests.orchestrator.evaluation.dials import dial_mapping
from tests.orchestrator.quick_study import arm, configurations, finish, quick_study, rule

OTHER_RULE = {**rule(), "confidence": 0.9}


def planned(home: Home, at_s: float | None = None, **parts: Any) -> Study:
    """A study as `orrery run` leaves it before its first trial; planned at `at_s`, or now."""
    study = Study.load(quick_study(**{"verdict": rule(), **parts}), home=home.root)
    write_plan(study, study.plan())
    if at_s is not None:
        path = study.folder / "plan.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "first_planned_at_s": at_s}))
    return study


def test_another_rule_after_results_is_post_hoc(home: Home) -> None:
    first = planned(home, at_s=1.0)
    finish(first)
    second = planned(home, verdict=OTHER_RULE)
    (note,) = earlier_notes(second)
    assert note.startswith(f"post hoc: {first.instance} had results")
    assert note in second.verdict().notes


def test_an_arm_that_is_called_a_control_after_results_is_post_hoc(home: Home) -> None:
    first = planned(home, at_s=1.0, design=configurations(arm("plain"), arm("signal")))
    finish(first)
    second = planned(home, design=configurations(arm("plain"), arm("signal", "control")))
    (note,) = earlier_notes(second)
    assert note.startswith(f"post hoc: {first.instance} had results")


def test_seeds_added_after_results_are_an_extension(home: Home) -> None:
    finish(planned(home, at_s=1.0))
    (note,) = earlier_notes(planned(home, seeds=[0, 1, 2]))
    assert note.startswith("extended: seeds were added")


def test_another_rule_before_any_result_is_no_news(home: Home) -> None:
    first = planned(home, at_s=1.0)
    second = planned(home, at_s=2.0, verdict=OTHER_RULE)
    finish(first)
    assert earlier_notes(second) == []


def test_running_the_earlier_study_again_does_not_hide_that_it_had_results(home: Home) -> None:
    first = planned(home, at_s=1.0)
    finish(first)
    second = planned(home, verdict=OTHER_RULE)
    finish(first, Selection(again=True))
    (note,) = earlier_notes(second)
    assert note.startswith("post hoc")


def test_new_words_about_an_arm_do_not_hide_another_rule(home: Home) -> None:
    finish(planned(home, at_s=1.0))
    arms = (arm("plain", "baseline"), {**arm("better", effect=5.0), "about": "other words"})
    (note,) = earlier_notes(planned(home, verdict=OTHER_RULE, design=configurations(*arms)))
    assert note.startswith("post hoc")


def test_another_design_is_another_question(home: Home) -> None:
    finish(planned(home, at_s=1.0))
    design = configurations(arm("plain", "baseline"), arm("better", effect=6.0))
    assert earlier_notes(planned(home, verdict=OTHER_RULE, design=design)) == []


def test_a_study_whose_name_starts_alike_is_another(home: Home) -> None:
    other = planned(home, at_s=1.0, name="quick-study-2")
    finish(other)
    (other.folder / "study.yaml").write_text("name: 3\n")
    assert earlier_notes(planned(home, verdict=OTHER_RULE)) == []


def no_longer_valid(study: Study) -> None:
    path = study.folder / "study.yaml"
    path.write_text(path.read_text() + "a_key_of_old: 1\n")


def no_yaml(study: Study) -> None:
    (study.folder / "study.yaml").write_text("[")


def no_file(study: Study) -> None:
    (study.folder / "study.yaml").unlink()


def no_ids(study: Study) -> None:
    path = study.folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "trials": [{}]}))


@pytest.mark.parametrize("harm", [no_longer_valid, no_yaml, no_file, no_ids])
def test_an_earlier_instance_that_cannot_be_read_is_noted(home: Home, harm: Any) -> None:
    first = planned(home, at_s=1.0)
    finish(first)
    second = planned(home, verdict=OTHER_RULE)
    harm(first)
    note = f"an earlier instance {first.instance} cannot be read."
    assert earlier_notes(second) == [note]
    assert note in second.verdict().notes


DAMAGED = ["[]", "{}", "3", "{", '{"study": "quick", "first_planned_at_s": "long ago"}']


@pytest.mark.parametrize("content", DAMAGED)
def test_the_plan_of_another_instance_that_cannot_be_read_is_noted(
    home: Home, content: str
) -> None:
    first = planned(home, at_s=1.0)
    Path(first.folder, "plan.json").write_text(content)
    (note,) = earlier_notes(planned(home, verdict=OTHER_RULE))
    assert note.startswith(f"the plan.json of another instance, {first.instance}, cannot be read")


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_plan_is_noted_and_kept_when_another_is_written(home: Home, content: str) -> None:
    study = planned(home)
    path = study.folder / "plan.json"
    path.write_text(content)
    (note,) = earlier_notes(study)
    assert note.startswith("plan.json cannot be read")
    assert note in study.verdict().notes
    assert note in summary_lines(study, study.plan())
    write_plan(study, study.plan())
    aside = study.folder / "plan.json.damaged"
    assert aside.read_text() == content
    path.write_text("again")
    write_plan(study, study.plan())
    assert aside.read_text() == content
    (note,) = earlier_notes(study)
    assert note.startswith("plan.json.damaged cannot be read")


def test_the_plan_keeps_the_hash_of_the_rule_it_was_made_under(home: Home) -> None:
    study = planned(home)
    path = study.folder / "plan.json"
    told = json.loads(path.read_bytes())
    assert told["rule_hash"] == rule_hash(study.file)
    path.write_text(json.dumps({**told, "rule_hash": "0123456789"}))
    write_plan(study, study.plan())
    assert json.loads(path.read_bytes())["rule_hash"] == "0123456789"
    (note,) = earlier_notes(study)
    assert note.startswith("post hoc: planned under the rule 0123456789, judged by ")


def test_presentation_is_no_part_of_the_rule(home: Home) -> None:
    one = rule_hash(planned(home).file)
    assert rule_hash(planned(home, verdict={**rule(), "unit": "points of 100"}).file) == one
    assert rule_hash(planned(home, seeds=[5]).file) == one
    assert rule_hash(planned(home, verdict=OTHER_RULE).file) != one


def asks(margin: float) -> dict[str, Any]:
    return dial_mapping(
        questions={
            "higher": {
                "kind": "higher",
                "curve": {"arm": "steep", "path": "zeros"},
                "than": {"arm": "flat", "path": "zeros"},
                "margin": margin,
            }
        }
    )


def test_another_question_about_the_same_curves_is_post_hoc(home: Home) -> None:
    def of(margin: float) -> Study:
        study = Study.load(asks(margin), home=home.root)
        write_plan(study, study.plan())
        return study

    first = of(0.1)
    path = first.folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "first_planned_at_s": 1.0}))
    finish(first)
    second = of(0.01)
    (note,) = earlier_notes(second)
    assert note.startswith(f"post hoc: {first.instance} had results under another rule")
    assert note in findings_of(second, second.plan()).notes
