"""Endpoints of a study whose trials really ran: from scores to report, JSON and MLflow; and what a
study file cannot ask."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator import Selection, Study, UsageError
from orchestrator.cli.app import app
from orchestrator.endpoints.result import Comparison
from orchestrator.engine.worker import AttemptFailed
from orchestrator.findings import findings_of
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.publishing import study_run
from orchestrator.report.terminal import render_findings
from orchestrator.reporting import StudyReport, report_study
from tests.orchestrator.quick_study import arm, finish, write_study

TEXTS = "tests.scored_texts_workload:ScoredTexts"


def endpoints(**parts: Mapping[str, Any]) -> dict[str, Any]:
    stated = {
        "kl": {"column": "kl", "against": "base", "margin": 0.01, "unit": "nats"},
        "entropy": {
            "column": "entropy",
            "against": "base",
            "arms": ["far", "near"],
            "margin": 0.01,
            "primary": False,
            "about": "as the source has it",
        },
    }
    return {**stated, **parts}


def texts_study(*arms: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    listed = arms or (
        arm("base", seeded=False),
        arm("far", shift=0.2, spread=0.02),
        arm("near", shift=0.002, spread=0.0005),
        arm("same", "control", seeded=False),
    )
    return {
        "name": "texts-study",
        "question": "Does it read otherwise?",
        "workload": TEXTS,
        "seeds": "0-4",
        "design": {"kind": "configurations", "arms": [dict(one) for one in listed]},
        "endpoints": endpoints(),
        **parts,
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.load(texts_study(), home=tmp_path_factory.mktemp("texts") / "home")
    finish(study)
    return study


@pytest.fixture(scope="module")
def report(done: Study) -> StudyReport:
    return report_study(done, done.plan())


def compared(study: Study, endpoint: str, arm: str) -> Comparison:
    found = findings_of(study, study.plan()).endpoints
    assert found is not None
    one = found.find(endpoint, arm)
    assert one is not None
    return one


def test_arms_are_compared_with_a_deterministic_one_by_every_seed(done: Study) -> None:
    far, near, same = (compared(done, "kl", name) for name in ("far", "near", "same"))
    assert (far.label, far.seeds, far.units, far.clusters) == ("effect, higher", 5, 24, 8)
    assert far.low is not None
    assert far.high is not None
    assert far.low < 0.2 < far.high
    assert (near.label, near.family, same.family) == ("no effect", 3, 3)
    assert (same.label, same.control, same.fixed) == ("identical", True, True)


def test_the_answer_leads_and_leaves_secondary_endpoints_out(done: Study) -> None:
    found = findings_of(done, done.plan())
    assert found.answer == (
        "kl against base: effect, higher in far; no effect in near; among controls identical in "
        "same."
    )
    assert found.state == "answered"
    assert {"effect, higher", "effect", "no effect", "answered"} == found.outcomes
    console = Console(width=80, record=True, file=StringIO())
    console.print(render_findings(found))
    text = " ".join(console.export_text().split())
    assert text.startswith("kl against base: effect, higher in far")
    assert "entropy of texts, minus base; margin 0.01; secondary" in text
    assert "same (control)" in text


def test_the_report_holds_a_row_a_comparison_and_a_picture(
    report: StudyReport, done: Study
) -> None:
    names = {path.name for path in report.files}
    assert {
        "endpoints.csv", "endpoints-seeds.csv", "endpoints.json", "endpoints.png", "report.md",
        "report.html",
    } <= names  # fmt: skip
    assert not report.problems
    with (report.folder / "endpoints.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["endpoint"], row["arm"]): row for row in csv.DictReader(file)}
    assert list(rows) == [
        ("kl", "far"), ("kl", "near"), ("kl", "same"), ("entropy", "far"), ("entropy", "near"),
    ]  # fmt: skip
    assert rows["kl", "same"]["low"] == ""
    assert rows["entropy", "far"]["primary"] == "False"
    with (report.folder / "endpoints-seeds.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5 * 4 + 1
    kept = json.loads((report.folder / "endpoints.json").read_text(encoding="utf-8"))
    assert kept == report.findings.to_json()["endpoints"]
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    assert "| near | " in text
    assert "- kl/same: neither arm depends on the seed" in text
    assert "(endpoints.png)" in text
    assert "as the source has it" in text
    again = report_study(done, done.plan())
    assert again.findings.to_json() == report.findings.to_json()


def test_the_workload_sees_them(report: StudyReport) -> None:
    seen = json.loads((report.folder / "seen.json").read_text(encoding="utf-8"))
    far = seen[0]
    assert (far["endpoint"], far["arm"], far["label"]) == ("kl", "far", "effect, higher")
    assert far["difference"]["low"] > 0.01
    assert len(far["by_seed"]) == 5


def test_figures_become_metrics_of_the_studys_own_run(done: Study) -> None:
    plan = done.plan()
    found = findings_of(done, plan)
    run = study_run(done, plan, None, "done", findings=found)
    assert run.tags["answer"] == found.answer
    assert run.figures["endpoints/kl/far"] == pytest.approx(0.2, abs=0.03)
    assert run.figures["endpoints/kl/far/low"] == compared(done, "kl", "far").low
    assert "endpoints/kl/same/low" not in {k for k, v in run.figures.items() if v is not None}


def test_the_studys_next_steps_are_those_of_a_label(done: Study) -> None:
    steps = {"effect": ["Look at far."], "no_effect": ["Drop near."], "identical": ["Never."]}
    study = Study.load(texts_study(next_steps=steps), home=done.home.root)
    assert findings_of(study, study.plan()).next_steps == ("Look at far.", "Drop near.")


def test_nothing_is_called_anything_while_trials_are_missing(home: Home) -> None:
    study = Study.load(texts_study(), home=home.root)
    finish(study, Selection(limit=7))
    found = findings_of(study, study.plan())
    # the control is the base again, so that one run is that of both
    assert found.answer == "No verdict on endpoints yet: 8 of 12 trials have ended."
    assert compared(study, "kl", "far").label == "no verdict yet"


@pytest.mark.parametrize(
    ("broken", "label"),
    [({"breaks": True}, "failed"), ({"diverges": True}, "diverged")],
)
def test_failed_runs_are_told(broken: dict[str, Any], label: str, home: Home) -> None:
    lost = {**arm("lost", **broken), "seeds": [1]}
    arms = (arm("base", seeded=False), lost)
    study = Study.load(texts_study(*arms, endpoints={"kl": endpoints()["kl"]}), home=home.root)
    with pytest.raises(AttemptFailed):
        finish(study)
    finish(study)
    assert compared(study, "kl", "lost").label == label


def test_values_that_are_not_finite_or_missing_are_told(home: Home) -> None:
    arms = (arm("base"), arm("strange", strange=True), arm("part", shift=0.3, silent=6))
    asked = {"entropy": {"column": "entropy", "against": "base", "margin": 0.01}}
    study = Study.load(texts_study(*arms, endpoints=asked), home=home.root)
    finish(study)
    strange, part = compared(study, "entropy", "strange"), compared(study, "entropy", "part")
    assert (strange.label, strange.not_finite) == ("not finite", 5)
    assert (part.label, part.units, part.left_units) == ("effect, higher", 18, 6)


def refusal(mapping: dict[str, Any], home: Home) -> str:
    with pytest.raises(UsageError) as caught:
        Study.load(mapping, home=home.root).plan()
    assert "\n" not in str(caught.value)
    return str(caught.value)


KL = endpoints()["kl"]


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({**KL, "against": "bass"}, "arm in endpoints.kl 'bass'"),
        ({**KL, "arms": ["far", "fat"]}, "arm in endpoints.kl 'fat'"),
        ({**KL, "column": "kll"}, "Did you mean 'kl'?"),
        ({**KL, "split": "text"}, "split in endpoints.kl 'text'"),
        ({**KL, "margin": 0}, "margin"),
        ({**KL, "arms": ["base"]}, "'base' would be compared with itself"),
    ],
)
def test_what_names_nothing_is_refused(stated: dict[str, Any], told: str, home: Home) -> None:
    assert told in refusal(texts_study(endpoints={"kl": stated}), home)


def test_arms_that_share_no_seed_are_refused(home: Home) -> None:
    arms = (arm("base"), {**arm("far"), "seeds": [7, 8]})
    told = refusal(texts_study(*arms, endpoints={"kl": KL}), home)
    assert "endpoints.kl: far and base share no seed" in told


def test_what_a_flagged_trial_notes_stands_beside_its_arm(home: Home) -> None:
    arms = [arm("base"), arm("null"), arm("far", shift=0.2), arm("dead", flagged=True)]
    stated = {"kl": endpoints()["kl"]}
    study = Study.load(texts_study(*arms, seeds="0-1", endpoints=stated), home=home.root)
    finish(study)
    one = compared(study, "kl", "dead")
    assert (one.label, one.flagged) == ("identical", 2)
    assert one.sentence.endswith("nothing is tested; dead site: acts, but changes no logit.")
    report = (report_study(study, study.plan()).folder / "report.md").read_text(encoding="utf-8")
    assert "identical in null" in report
    assert "identical, flagged, in dead" in report
    assert "kl/dead: dead site: acts, but changes no logit" in report


def test_a_search_takes_none(home: Home) -> None:
    search = {
        "kind": "search",
        "space": {"shift": {"uniform": [0, 1]}},
        "budget": 3,
        "metric": "train/entropy",
    }
    told = refusal(texts_study(design=search), home)
    assert "'endpoints' asks of the scores of trials, and the design search chooses" in told


def test_a_plan_says_how_many_there_are_and_which_give_candidates(home: Home) -> None:
    notes = Study.load(texts_study(seeds=[0, 1, 2]), home=home.root).plan().notes
    assert any(
        "over 3 primary comparisons, 2 secondary, each family by itself" in note for note in notes
    )
    assert any("endpoints on far, near: fewer than 5 seeds in common" in note for note in notes)
    five = Study.load(texts_study(), home=home.root).plan().notes
    assert not any("candidate" in note for note in five)
    # t(4) at .05 / 6 is 3.961, t(9) 2.933; .01 sqrt(5) / 3.961
    (power,) = (note for note in five if "standard errors" in note)
    assert "with 5 seeds a primary interval reaches 4.0 standard errors, with 10 2.9" in power
    assert "an SD below 0.0056 for ±0.01" in power
    arms = (arm("base"), {**arm("far"), "seeds": [2, 3, 4, 5, 6, 7]})
    unlike = Study.load(texts_study(*arms, endpoints={"kl": KL}), home=home.root).plan().notes
    assert any("on far: only the seeds that both arms have" in note for note in unlike)


def test_the_commands_tell_them(done: Study, report: StudyReport, tmp_path: Path) -> None:
    path = write_study(tmp_path, texts_study())
    write_plan(done, done.plan())
    words = [str(path), "--home", str(done.home.root)]
    plan = CliRunner().invoke(app, ["plan", *words])
    assert plan.exit_code == 0, plan.output
    said = " ".join(plan.output.split())
    assert "endpoints kl: kl of texts minus that of base; ±0.01 nats does not matter" in said
    told = CliRunner().invoke(app, ["report", *words, "--json"])
    assert told.exit_code == 0, told.output
    data = json.loads(told.output)
    assert [one["label"] for one in data["endpoints"]["comparisons"]][:3] == [
        "effect, higher", "no effect", "identical",
    ]  # fmt: skip


def test_a_margin_that_changes_after_results_is_post_hoc(home: Home) -> None:
    arms = (arm("base", seeded=False), arm("far", shift=0.2))
    first = Study.load(texts_study(*arms, endpoints={"kl": KL}), home=home.root)
    finish(first)
    write_plan(first, first.plan())
    wider = Study.load(texts_study(*arms, endpoints={"kl": {**KL, "margin": 1}}), home=home.root)
    finish(wider)
    write_plan(wider, wider.plan())
    (note,) = findings_of(wider, wider.plan()).notes
    assert note.startswith(f"post hoc: {first.instance} had results under another rule")
