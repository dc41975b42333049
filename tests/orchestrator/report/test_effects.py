"""What a report says of effects and of stated comparisons, in every form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.effects import CoalitionMean, Effect, EffectTable, StudyEffects
from orchestrator.report import StudyInfo, render_effects, render_verdict, write_report
from orchestrator.report.effect_files import write_effects, write_matrix
from orchestrator.report.effect_pictures import plot_interactions, plot_matrix
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
    report = write_report(make_verdict(), info, [], tmp_path, effects)
    text, page = report.markdown.read_text(), report.html.read_text()

    assert "| figure | of | causal effect | label | removal cost (a+b) | label |" in text
    assert "| Shapley value | a | +1.25 [+0.50, +2.00] | helps |  |  |" in text
    assert "switched off alone / left out alone | a | +1.50" in text
    assert "b is a null player" in text
    assert "no figure, its table is incomplete: seed 2: coalition a failed" in text
    assert "all off is not host only" in text
    for said in ("removal cost (a+b)", "null player", "data:image/png;base64,"):
        assert said in page
    assert all(path.is_file() for path in report.effects)
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
    text = text_of(render_verdict(make_verdict(), effects))

    assert "Causal effect: every combination is trained from the same seeds" in text
    assert text.index("null player") < text.index("Inconclusive: nothing is known.")
    assert "Effects" not in text_of(render_verdict(make_verdict()))


def test_a_study_without_a_rule_shows_its_effects_alone(effects: StudyEffects) -> None:
    assert "+1.2 [+0.5, +2.0]" in text_of(render_effects(effects))


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
    verdict = make_verdict(comparisons=(one, one))
    report = write_report(verdict, info, [], tmp_path)

    assert said in report.markdown.read_text()
    assert said in report.html.read_text()
    assert said in text_of(render_verdict(verdict))
    assert "simultaneous over 2 stated comparisons" in report.markdown.read_text()
