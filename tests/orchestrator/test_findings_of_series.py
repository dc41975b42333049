"""Alarms and claims of a study whose trials really ran: from scores to report, JSON and MLflow."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator import Selection, Study
from orchestrator.cli.app import app
from orchestrator.engine.worker import AttemptFailed
from orchestrator.findings import findings_of
from orchestrator.home import Home
from orchestrator.judging import verdict_of
from orchestrator.plan_file import write_plan
from orchestrator.publishing import study_run
from orchestrator.report import StudyInfo
from orchestrator.report.findings import finding_sections
from orchestrator.report.markdown import markdown
from orchestrator.reporting import StudyReport, report_study
from orchestrator.watching.terminal import render_frame
from orchestrator.watching.watcher import Watcher
from tests.orchestrator.quick_study import arm, finish, write_study
from tests.orchestrator.series_study import claims, series_study


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.load(series_study(), home=tmp_path_factory.mktemp("series") / "home")
    finish(study)
    return study


@pytest.fixture(scope="module")
def report(done: Study) -> StudyReport:
    return report_study(done, done.plan())


def test_a_study_with_too_few_healthy_runs_answers_its_claims_and_not_who_is_first(
    done: Study,
) -> None:
    found = findings_of(done, done.plan())
    assert found.alarms is not None
    assert found.claims is not None
    assert found.alarms.state == "not calibrated"
    assert {arm.label for arm in found.alarms.arms} == {"not calibrated", "synthetic signal"}
    collapse = found.alarms.find("collapse")
    assert collapse is not None
    assert (collapse.first.events, collapse.runs) == (6, 6)
    labels = {one.name: one.label for one in found.claims.claims}
    assert labels == {"in-zone": "inconclusive", "collapses": "holds", "middle": "contradicted"}
    zone = found.claims.find("in-zone")
    assert zone is not None
    assert (zone.value, zone.runs, zone.units) == (1.0, 10, 100)  # two steps are buffering
    assert found.answer.endswith(found.claims.answer)


def test_nothing_is_called_anything_while_trials_are_missing(home: Home) -> None:
    study = Study.load(series_study(), home=home.root)
    finish(study, Selection(limit=20))
    found = findings_of(study, study.plan())
    assert found.state == "no verdict yet"
    assert found.claims is not None
    assert found.claims.answer == "No verdict on claims yet: 20 of 34 trials have ended."
    assert {one.label for one in found.claims.claims} == {"no verdict yet"}
    assert found.claims.claims[0].value == 1.0


def test_a_failed_run_is_told_and_its_claim_is_incomplete(home: Home) -> None:
    broken = series_study(alarms=None)
    broken["design"] = {
        "kind": "configurations",
        "arms": [{**arm("healthy", fails=True), "seeds": [9]}, arm("other")],
    }
    study = Study.load(broken, home=home.root)
    with pytest.raises(AttemptFailed):
        finish(study)
    finish(study)
    found = findings_of(study, study.plan())
    assert found.alarms is None
    assert found.claims is not None
    assert {one.label for one in found.claims.claims} == {"incomplete"}
    assert found.claims.claims[0].why == "of 1 run 1 failed"


def test_the_report_is_kept_and_made_once(done: Study, report: StudyReport) -> None:
    names = {path.name for path in report.files}
    assert {
        "alarms.csv", "roc.csv", "claims.csv", "alarms.json", "claims.json", "alarms.png",
        "claims.png", "report.md", "report.html", "trials.csv",
    } <= names  # fmt: skip
    assert report.verdict is None
    assert not report.problems
    written = (report.folder / "report.md").stat().st_mtime_ns
    again = report_study(done, done.plan())
    assert (report.folder / "report.md").stat().st_mtime_ns == written
    assert again.findings.to_json() == report.findings.to_json()
    with (report.folder / "alarms.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows if row["arm"] == "unseen"} == set(map(str, range(100, 106)))
    assert {row["onset"] for row in rows if row["part"] in ("arm", "synthetic")} == {"4"}


def test_a_verdict_stands_beside_them_and_leads(done: Study) -> None:
    rule = {
        "metric": "final_loss",
        "comparator": "healthy",
        "bands": [{"at_least": 1.0, "name": "much"}],
    }
    study = Study.load(series_study(verdict=rule), home=done.home.root)
    plan = study.plan()
    verdict, found = verdict_of(study, plan), findings_of(study, plan)
    info = StudyInfo(study.name, study.instance, study.file.question)
    text = markdown(verdict, info, sections=finding_sections(found, {}))
    assert text.index(verdict.answer) < text.index("## Alarms") < text.index("## Claims")


def test_the_studys_next_steps_are_those_of_what_came_out(done: Study) -> None:
    steps = {
        "not_calibrated": ["Give healthy more seeds."],
        "answered": ["Publish."],
        "contradicted": ["Tell the authors."],
        "candidate": ["Never."],
    }
    study = Study.load(series_study(next_steps=steps), home=done.home.root)
    found = findings_of(study, study.plan())
    assert found.next_steps == ("Give healthy more seeds.", "Tell the authors.")
    (section,) = (one for one in finding_sections(found, {}) if one.title == "Next steps")
    assert section.lines == found.next_steps
    assert found.to_json()["findings_next_steps"] == list(found.next_steps)


def test_watching_it_ends_with_the_answer(done: Study) -> None:
    write_plan(done, done.plan())
    frame = Watcher(done).look()
    assert (frame.over, frame.metric) == (True, None)
    assert frame.answer == findings_of(done, done.plan()).answer
    drawn = Console(file=StringIO(), width=100)
    drawn.print(render_frame(frame, 100))
    assert "Answer: Whether structure or loss alarms first" in drawn.file.getvalue()


def test_figures_become_metrics_of_the_studys_own_run(done: Study) -> None:
    plan = done.plan()
    found = findings_of(done, plan)
    run = study_run(done, plan, None, "done", findings=found)
    assert run.tags["verdict"] == "not calibrated"
    assert run.tags["answer"] == found.answer
    assert f"**Answer.** {found.answer}" in run.note
    assert run.figures["claims/in-zone"] == 1.0
    # ten runs that all have a share of 1: one of three claims, half of the error being the alarms'
    assert run.figures["claims/in-zone/low"] == pytest.approx((0.025 / 3 / 2) ** 0.1)
    assert run.figures["alarms/collapse/first"] == 1.0


def test_claims_that_change_after_results_are_post_hoc_and_more_seeds_an_extension(
    home: Home,
) -> None:
    def planned(seeds: str, **parts: Any) -> Study:
        mapping = series_study(seeds, "100-101", seeds=[200], **{"alarms": None, **parts})
        study = Study.load(mapping, home=home.root)
        finish(study)
        write_plan(study, study.plan())
        return study

    first = planned("0-5")
    assert findings_of(first, first.plan()).notes == ()
    kept = {"in-zone": {**claims()["in-zone"], "expected": [0.5, None]}}
    other = planned("0-5", claims=kept)
    (note,) = findings_of(other, other.plan()).notes
    assert note.startswith(f"post hoc: {first.instance} had results under another rule")
    assert note in (report_study(other, other.plan()).folder / "report.md").read_text()
    wider = planned("0-7")
    notes = findings_of(wider, wider.plan()).notes
    assert f"extended: seeds were added after {first.instance} had results." in notes


def test_the_workload_sees_its_study_and_adds_to_the_report(report: StudyReport) -> None:
    seen = json.loads((report.folder / "seen.json").read_text(encoding="utf-8"))
    assert seen == {
        "state": "not calibrated",
        "trials": 34,
        "answer": report.findings.answer,
        "runs": {"healthy": 10, "unseen": 6, "collapse": 6, "explosion": 6, "drawn": 6},
        "beside": True,
    }
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    assert "Beside this report: seen.json" in text


def test_the_commands_tell_them(done: Study, report: StudyReport, tmp_path: Path) -> None:
    path = write_study(tmp_path, series_study())
    write_plan(done, done.plan())
    words = [str(path), "--home", str(done.home.root)]
    plan = CliRunner().invoke(app, ["plan", *words])
    assert plan.exit_code == 0, plan.output
    said = " ".join(plan.output.split())
    assert "too few healthy runs to calibrate" in said
    assert "claims in-zone: the share of steps with sv_ratio in 0.2 to 0.4 in healthy is" in said
    told = CliRunner().invoke(app, ["report", *words, "--json"])
    assert told.exit_code == 0, told.output
    data = json.loads(told.output)
    assert data["alarms"]["state"] == "not calibrated"
    assert [one["label"] for one in data["claims"]["claims"]] == [
        "inconclusive", "holds", "contradicted",
    ]  # fmt: skip
    shown = CliRunner().invoke(app, ["report", *words])
    assert shown.exit_code == 0, shown.output
    assert "Of 3 claims 1 holds (collapses)" in " ".join(shown.output.split())
