"""Curves of a study whose points were really measured, and how they reach its report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.curves import StudyCurves, curve_metrics, curves_of
from orchestrator.findings import findings_of
from orchestrator.home import Home
from orchestrator.planning import Selection
from orchestrator.publishing import study_run
from orchestrator.report import render_findings
from orchestrator.reporting import report_study
from orchestrator.study import Study
from tests.orchestrator.evaluation.dials import dial_study
from tests.orchestrator.evaluation.games import measure_here
from tests.orchestrator.quick_study import finish, quick_study


@pytest.fixture
def study(home: Home) -> Study:
    made = dial_study(home, {"base": {"examples": 64}})
    finish(made)
    return made


def found(study: Study) -> StudyCurves:
    curves = curves_of(study, study.plan())
    assert curves is not None
    return curves


def test_curves_follow_the_points_and_average_their_draws(study: Study) -> None:
    measure_here(study)
    curves = found(study)
    assert [one.name for one in curves.curves] == ["steep/zeros", "steep/noise", "flat/zeros"]
    noise = curves.find("steep", "noise")
    assert noise is not None
    assert [point.draws for point in noise.points] == [2, 2, 2, 2, 1]
    assert noise.points[2].draw_sd is not None
    assert (noise.examples, noise.clusters, noise.problems) == (64, 32, ())
    assert len(noise.points[0].notes) == 2
    assert noise.points[0].metrics["error_l2"] == pytest.approx(0.8)
    steep, flat = curves.find("steep", "zeros"), curves.find("flat", "zeros")
    assert steep is not None
    assert flat is not None
    assert steep.threshold is not None
    assert steep.threshold.at == pytest.approx(0.5, abs=0.01)
    # that zeros lie above noise rests on two draws of it, which say next to nothing of others
    assert [answer.label for answer in curves.answers][:2] == ["sharper", "inconclusive"]
    assert curves.answer == curves.answers[0].sentence
    assert curves.state == "answered"


def test_nothing_is_answered_while_points_are_missing(study: Study, home: Home) -> None:
    before = found(study)
    assert before.state == "no verdict yet"
    assert before.answer.startswith("No verdict yet: 0 of 18 points are measured")
    assert {answer.label for answer in before.answers} == {"n/a"}
    half = dial_study(home, {"base": {"examples": 24, "middle": 0.6}})
    finish(half, Selection(limit=1))
    measure_here(half)
    curves = found(half)
    assert "its trial is planned" in curves.answer
    steep = curves.find("steep", "zeros")
    assert steep is not None
    assert steep.threshold is not None  # what is there is shown


def test_a_point_that_failed_leaves_its_questions_without_an_answer(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "error").write_text("0.6")
    study = dial_study(home, {"base": {"examples": 64, "faults": str(tmp_path)}})
    finish(study)
    measure_here(study)
    curves = found(study)
    assert curves.state == "answered"
    assert curves.answers[0].label == "n/a"
    assert "fraction 0.6: failed: what is known is not enough" in curves.answer
    assert curves.curves[0].points[2].mean is None


def test_another_design_has_no_curves(home: Home) -> None:
    other = Study.load(quick_study(), home=home.root)
    assert curves_of(other, other.plan()) is None


def test_the_report_holds_curves_answers_and_pictures(study: Study) -> None:
    measure_here(study)
    plan = study.plan()
    report = report_study(study, plan)
    names = {path.name for path in report.files}
    assert {
        "curves.csv", "curves.json", "thresholds.csv", "report.md", "report.html", "trials.csv",
        "answer-sharper.png", "answer-higher.png", "curves-steep.png", "curves-flat.png",
    } <= names  # fmt: skip
    rows = list(csv.DictReader((report.folder / "curves.csv").open()))
    assert len(rows) == 15
    assert list(rows[0])[:6] == ["arm", "path", "along", "value", "draws", "overlap"]
    assert (
        float(rows[2]["overlap_low"]) < float(rows[2]["overlap"]) < float(rows[2]["overlap_high"])
    )
    assert rows[2]["error_l2"] == "0.4"
    ends = [float(row[f"overlap_{end}"]) for row in rows for end in ("low", "high")]
    assert (min(ends), max(ends)) == (0.0, 1.0)  # where the workload says that it lies
    crossings = list(csv.DictReader((report.folder / "thresholds.csv").open()))
    assert float(crossings[0]["threshold"]) == pytest.approx(0.5, abs=0.01)
    text = (report.folder / "report.md").read_text()
    # the answer, then its picture, then all else
    titles = (
        "## Answer\n", "steep/zeros is sharper than", "A label needs the whole interval",
        "](answer-sharper.png)", "## Other answers", "](answer-higher.png)", "## Curves",
        "](curves-steep.png)", "## Answers by value", "## Means", "## Provenance",
    )  # fmt: skip
    places = [text.index(one) for one in titles]
    assert places == sorted(places)
    page = (report.folder / "report.html").read_text()
    assert '<div class="answer"><p class="text">steep/zeros is sharper than' in page
    assert page.index("data:image/png") < page.index("Other answers</h2>") < page.index("<table")
    assert "64 examples from 32 texts or the like" in text
    for jargon in ("clusters", "simultaneous", "grid there"):
        assert jargon not in text
    assert "steep: overlap, mean with its own interval" in text
    assert "data:image/png" in (report.folder / "report.html").read_text()
    data = json.loads((report.folder / "curves.json").read_text())
    assert data["answers"][0]["label"] == "sharper"
    assert report_study(study, study.plan()).findings == report.findings  # as it was saved


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_leads_with_the_answer_then_controls_then_curves(
    study: Study, width: int
) -> None:
    measure_here(study)
    text = _printed(study, width)
    assert text.startswith("steep/zeros is sharper than flat/zeros: difference of widths")
    controls, curves = (
        text.index(f"{what}: threshold at 0.5, width from 0.1 to 0.9")
        for what in ("Controls", "Curves")
    )
    assert text.index("Other answers") < controls < text.index("flat/zeros   ") < curves
    assert "steep/noise   0.5" in text
    assert "at least" in text  # the width of a curve that is measured in part
    assert "“At least”, and an interval that ends in “…”" in " ".join(text.split())
    assert text.count("A label needs the whole interval") == 1
    assert "mean with its own interval" not in text


def test_curves_that_lack_the_same_are_one_line(study: Study) -> None:
    text = " ".join(_printed(study, 80).split())
    assert text.startswith("No verdict yet: 0 of 18 points")
    assert "overlap is not measured yet." in text
    lacking = "steep/zeros, steep/noise, flat/zeros: fraction 0.2: not measured yet; 4 more."
    assert f"Incomplete, so no threshold: {lacking}" in text
    assert text.count("No verdict yet") == 1


def test_a_metric_without_scores_by_example_has_means_alone(home: Home) -> None:
    """What the examples are scored by is another metric: its intervals are not this one's."""
    made = dial_study(home, {"base": {"examples": 64}}, metric="error_l2", questions={})
    finish(made)
    measure_here(made)
    steep = found(made).curves[0]
    assert [point.mean for point in steep.points] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert {(point.low, point.high, point.fit) for point in steep.points} == {(None, None, None)}
    assert (steep.threshold, steep.examples) == (None, None)
    assert "error_l2 has no scores by example" in _printed(made, 80)


def _printed(study: Study, width: int) -> str:
    with (console := Console(width=width)).capture() as shown:
        console.print(render_findings(findings_of(study, study.plan())))
    return shown.get()


def test_thresholds_widths_and_answers_are_metrics_of_the_study(study: Study) -> None:
    measure_here(study)
    plan = study.plan()
    findings = findings_of(study, plan)
    named = curve_metrics(findings.curves)
    assert named["curves/steep/zeros/threshold"] == pytest.approx(0.5, abs=0.01)
    assert named["curves/flat/zeros/width/high"] is None
    assert named["answers/sharper/high"] is not None
    run: Any = study_run(study, plan, None, "done", findings=findings)
    assert run.figures == named
    assert run.tags["answer"] == findings.answer
    assert run.tags["verdict"] == "answered"
    assert f"**Answer.** {findings.answer}" in run.note
