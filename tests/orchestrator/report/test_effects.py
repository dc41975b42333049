"""What a report says of effects and of stated comparisons, in every form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from rich.console import Console

from orchestrator.effects import CoalitionMean, Effect, EffectTable, StudyEffects
from orchestrator.findings import Findings
from orchestrator.report import (
    StudyInfo,
    render_findings,
    render_verdict,
    write_findings_report,
    write_report,
)
from orchestrator.report.effect_files import slug, write_effects, write_matrix
from orchestrator.report.effect_pictures import plot_interactions, plot_matrix
from orchestrator.report.effects import effect_sections
from orchestrator.report.markdown import markdown_without_rule
from orchestrator.verdict import ComparisonVerdict, Verdict

MakeVerdict = Callable[..., Verdict]


def effect(kind: str, *of: str, question: str = "causal effect", **stated: object) -> Effect:
    usual: dict[str, object] = {
        "value": 1.25,
        "low": 0.5,
        "high": 2.0,
        "confidence": 0.95,
        "family": 2,
        "replicates": 5,
        "label": "helps",
    }
    return Effect(kind=kind, of=of, question=question, **(usual | stated))  # type: ignore[arg-type]


@pytest.fixture
def causal() -> EffectTable:
    coalitions = tuple(
        CoalitionMean(on, value, value - 1, value + 1, (value,) * 5)
        for on, value in (((), 62.0), (("a",), 63.25), (("b",), 62.0), (("a", "b"), 63.25))
    )
    return EffectTable(
        question="causal effect",
        about="4 arms x 5 seeds",
        arm="",
        seeds=(0, 1, 2, 3, 4),
        metric="accuracy",
        unit="%",
        direction="higher",
        factors=("a", "b"),
        effects=(
            effect("total"),
            effect("shapley", "a"),
            effect("shapley", "b", value=0.0, low=None, high=None, label="null player"),
            effect("left_out", "a", value=1.5),
            effect("sii", "a", "b", value=-0.4, low=-0.9, high=0.1, label="inconclusive"),
        ),
        coalitions=coalitions,
        null_players=("b",),
        examples=360,
        clusters=360,
    )


@pytest.fixture
def removal() -> EffectTable:
    unknown = {"value": None, "low": None, "high": None, "label": "not estimated"}
    why = "seed 2: coalition a failed: RuntimeError: no"
    return EffectTable(
        question="removal cost",
        about="5 models of a+b",
        arm="a+b",
        seeds=(0, 1, 2, 3, 4),
        metric="accuracy",
        unit="%",
        direction="higher",
        factors=("a", "b"),
        effects=(effect("removal_cost", "a", question="removal cost", why=why, **unknown),),
        coalitions=(CoalitionMean((), None), CoalitionMean(("a",), None)),
        problems=(why,),
    )


@pytest.fixture
def effects(causal: EffectTable, removal: EffectTable) -> StudyEffects:
    return StudyEffects(causal, (removal,), (("trial", removal),), ("all off is not host only",))


def text_of(renderable: object) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(renderable)
    return out.getvalue()


def test_a_report_shows_both_questions_side_by_side_under_their_names(
    make_verdict: MakeVerdict, info: StudyInfo, effects: StudyEffects, tmp_path: Path
) -> None:
    report = write_report(make_verdict(), info, [], tmp_path, Findings(effects))
    text, page = report.markdown.read_text(), report.html.read_text()

    assert "| figure | of | causal effect | label | removal cost (a+b) | label |" in text
    assert "| Shapley value | a | +1.25 [+0.50, +2.00] | helps |  |  |" in text
    assert "switched off alone / left out alone | a | +1.50" in text
    assert "b is a null player" in text
    assert "no figure, its table is incomplete: seed 2: coalition a failed" in text
    assert "all off is not host only" in text
    for said in ("removal cost (a+b)", "null player", "data:image/png;base64,"):
        assert said in page
    assert all(path.is_file() for path in report.findings)
    assert f"({(tmp_path / 'matrix-causal-effect.png').name})" in text


def test_the_matrix_is_an_artifact_in_two_formats(effects: StudyEffects, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_effects(effects, tmp_path)
    table = pq.read_table(tmp_path / "matrix-causal-effect.parquet")
    rows = list(csv.DictReader((tmp_path / "matrix-removal-cost-a+b.csv").open()))

    assert table.column_names[:4] == ["on", "a", "b", "accuracy"]
    assert table["on"].to_pylist() == ["none", "a", "b", "a+b"]
    assert table["a"].to_pylist() == [False, True, False, True]
    assert table["accuracy"].to_pylist() == [62.0, 63.25, 62.0, 63.25]
    assert table.schema.metadata[b"question"] == b"causal effect"
    assert [row["accuracy"] for row in rows] == ["", ""]  # not measured, and not 0


def test_effects_are_tables_for_other_programs(effects: StudyEffects, tmp_path: Path) -> None:
    write_effects(effects, tmp_path)
    rows = list(csv.DictReader((tmp_path / "effects.csv").open()))
    data = json.loads((tmp_path / "effects.json").read_text())

    assert {row["question"] for row in rows} == {"causal effect", "removal cost"}
    assert {row["kind"] for row in rows if row["question"] == "removal cost"} == {"removal_cost"}
    assert next(row for row in rows if row["kind"] == "removal_cost")["value"] == ""
    assert data["causal_effect"]["null_players"] == ["b"]
    assert data["removal_cost"][0]["problems"] == ["seed 2: coalition a failed: RuntimeError: no"]


def test_the_terminal_shows_effects_before_the_answer(
    make_verdict: MakeVerdict, effects: StudyEffects
) -> None:
    text = text_of(render_verdict(make_verdict(), Findings(effects)))

    assert "Causal effect: every combination is trained from the same seeds" in text
    assert text.index("null player") < text.index("Inconclusive: nothing is known.")
    assert "Effects" not in text_of(render_verdict(make_verdict()))


def test_a_study_without_a_rule_shows_its_effects_alone(effects: StudyEffects) -> None:
    assert "+1.2 [+0.5, +2.0]" in text_of(render_findings(Findings(effects)))


def test_pictures_are_not_drawn_of_nothing(
    causal: EffectTable, removal: EffectTable, tmp_path: Path
) -> None:
    many = replace(causal, factors=tuple(f"f{i}" for i in range(12)))

    assert plot_matrix(removal, tmp_path / "a.png") is None
    assert plot_interactions(removal, tmp_path / "b.png") is None
    assert plot_matrix(many, tmp_path / "c.png") is None
    assert plot_interactions(causal, tmp_path / "d.png") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["d.png"]


def test_an_empty_matrix_makes_no_file(removal: EffectTable, tmp_path: Path) -> None:
    assert write_matrix(replace(removal, coalitions=()), tmp_path, "matrix") == []


def test_stated_comparisons_are_sentences_in_every_form(
    make_verdict: MakeVerdict, info: StudyInfo, tmp_path: Path
) -> None:
    said = "grown against static (non-inferiority, margin 1 points): not worse by 1; +0.2."
    one = ComparisonVerdict(
        "grown", "static", "non_inferiority", 1.0, 0.2, -0.5, 0.9, "not worse by 1", "", said
    )
    verdict = make_verdict(comparisons=(one, one), family=4)
    report = write_report(verdict, info, [], tmp_path)

    assert said in report.markdown.read_text()
    assert said in report.html.read_text()
    assert said in text_of(render_verdict(verdict))
    assert "simultaneous over all 4 comparisons of the verdict" in report.markdown.read_text()


def test_a_printed_interval_agrees_with_its_label(causal: EffectTable) -> None:
    harms = effect("shapley", "a", value=-1.4, low=-2.8, high=-0.004, label="harms")
    text = render_text(replace(causal, effects=(harms,)))
    assert "[-2.800, -0.004]" in text


def test_pairs_in_points_have_a_regime_that_is_no_verdict(causal: EffectTable) -> None:
    def told(value: float, **changes: str) -> str:
        pair = effect("interaction", "a", "b", value=value, label="inconclusive")
        return render_text(replace(causal, effects=(pair,), **changes))  # type: ignore[arg-type]

    assert "(a description, not a verdict): a+b synergy" in told(0.6)
    assert "a+b interference" in told(-0.6)
    assert "a+b synergy" in told(-0.6, direction="lower")
    assert "verdict): 1 independent" in told(0.5)
    assert "not a verdict" not in told(0.6, unit="nats")


def test_factors_named_like_columns_and_odd_arms_are_written(
    causal: EffectTable, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    cells = tuple(replace(cell, on=()) for cell in causal.coalitions[:1])
    odd = replace(causal, factors=("low", "accuracy"), coalitions=cells, arm="a/b" * 90)
    files = write_effects(StudyEffects(removal=(odd,)), tmp_path).files
    (parquet,) = [path for path in files if path.suffix == ".parquet"]
    (row,) = pq.read_table(parquet).to_pylist()
    assert (row["factor low"], row["low"], row["accuracy"]) == (False, 61.0, 62.0)


def render_text(table: EffectTable) -> str:
    sections = effect_sections(StudyEffects(causal=table), {})
    return markdown_without_rule(StudyInfo("t", "t-1", "Why?"), [], sections)


def test_a_study_without_a_rule_has_every_form_of_the_report_too(
    removal: EffectTable, tmp_path: Path
) -> None:
    info = StudyInfo("parts", "parts-1", "Which parts?", hypothesis="All <of> them.")
    trials = [{"id": "t1", "arm": "whole", "state": "done"}]
    files = write_findings_report(
        Findings(StudyEffects(removal=(removal,))), info, trials, tmp_path
    )
    assert {"report.html", "report.md", "trials.csv", "effects.csv"} <= {
        f.name for f in files.files
    }
    page, text = ((tmp_path / f"report.{form}").read_text() for form in ("html", "md"))
    for form in (page, text):
        assert "Which parts?" in form
        assert "removal cost" in form
        assert "whole" in form
    assert "Hypothesis: All &lt;of&gt; them." in page
    assert "<title>parts</title>" in page


def test_what_was_not_measured_at_all_makes_no_tables(
    causal: EffectTable, removal: EffectTable
) -> None:
    started = replace(removal, coalitions=(CoalitionMean((), 62.0), CoalitionMean(("a",), None)))
    text = text_of(render_findings(Findings(StudyEffects(removal=(removal,)))))
    assert "no figure, its table is incomplete" in text
    assert "Shapley" not in text
    assert "Every combination" not in text
    text = text_of(render_findings(Findings(StudyEffects(removal=(started,)))))
    assert "(1 more are not measured)" in text


def test_only_a_finding_is_drawn_as_one(
    causal: EffectTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces: list[str] = []
    draw = Axes.scatter

    def watched(axis: Axes, *args: Any, **options: Any) -> Any:
        faces.append(options["facecolor"])
        return draw(axis, *args, **options)

    monkeypatch.setattr(Axes, "scatter", watched)
    ends = {"value": 8.5, "low": 3.0, "high": 14.0}
    helps = effect("shapley", "a", label="helps", **ends)
    unsure = effect("shapley", "b", label="inconclusive", why="2 seeds", **ends)
    plot_interactions(replace(causal, effects=(helps, unsure)), tmp_path / "pair.png")
    assert [face == "white" for face in faces] == [False, True]


def test_a_file_is_named_by_an_arm_of_any_length(removal: EffectTable) -> None:
    long = ["+".join(f"{letter}{'x' * 60}" for letter in "abcde") + end for end in ("", "+f")]
    names = [slug(replace(removal, arm=arm)) for arm in long]
    assert len(set(names)) == 2
    assert all(len(name) < 120 for name in names)
