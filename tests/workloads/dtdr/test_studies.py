"""The studies that ship with the workload: what they plan, and that their smallest run answers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from orchestrator import Study
from orchestrator.curve_design import Fractions, Higher
from orchestrator.evaluation.tables import asked_points
from orchestrator.home import Home
from workloads.dtdr.asking import asked

STUDIES = ("emergence", "guided-reconstruction", "corruption")


def design_of(study: Study) -> Fractions:
    design = study.file.design
    assert isinstance(design, Fractions)
    return design


@pytest.mark.parametrize("preset", [None, "smoke"])
@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_can_be_planned_and_its_questions_are_of_curves_it_has(
    name: str, preset: str | None, home: Home
) -> None:
    study = Study.load(name, preset=preset, home=home.root)
    plan = study.plan()
    study.maker.check(item.trial for item in plan.to_run)
    design = design_of(study)
    assert len(plan.to_run) == len(design.arms)
    for question in design.questions.values():
        for curve in (question.curve, question.than):
            of = design.paths[curve.path].of
            assert not of or curve.arm in of
    for item in plan.to_run:
        points = asked_points(study, item.trial)
        assert points
        assert any(asked(point).fraction == 1.0 for point in points)
    if preset == "smoke":
        assert len(design.arms) == 2  # what takes long is to start a trial
        assert sum(len(asked_points(study, item.trial)) for item in plan.to_run) <= 40


def test_the_emergence_study_has_every_codec_domain_and_fill_and_the_plain_controls(
    home: Home,
) -> None:
    study = Study.load("emergence", home=home.root)
    design = design_of(study)
    configs = {item.trial.arm: item.trial.config.model_dump() for item in study.plan().trials}
    codecs = {arm: (made["transform"], made["quantiser"]) for arm, made in configs.items()}
    assert codecs == {
        "hadamard-row": ("hadamard", "row"),
        "hadamard-block": ("hadamard", "block"),
        "hadamard-minmax": ("hadamard", "minmax"),
        "dct-row": ("dct", "row"),
        "int8": ("none", "row"),
        "int8-minmax": ("none", "minmax"),
        "float": ("none", "none"),
    }
    points = [one.point for one in design.paths.values()]
    assert {p["domain"] for p in points if "domain" in p} == {
        "rows", "leading", "random", "largest"
    }  # fmt: skip
    assert {p["fill"] for p in points if "fill" in p} == {"zero", "random", "guided"}
    origin = {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0}
    assert set(design.values) == origin | {
        0.625,
        0.65,
        0.7,
        0.75,
        0.85,
        0.9,
        0.93,
        0.95,
        0.97,
        0.985,
    }
    assert next(iter(design.questions)) == "sharper-than-int8"
    assert study.file.base["prompts"] >= 32
    noise = next(one for one in design.questions.values() if one.curve.path == "noise")
    assert (noise.curve.arm, noise.than.arm) == ("hadamard-row", "int8")


@pytest.mark.parametrize("preset", [None, "smoke"])
@pytest.mark.parametrize("name", STUDIES)
def test_only_the_whole_model_is_left_out_of_a_question(
    name: str, preset: str | None, home: Home
) -> None:
    """What is left out where nothing is said is the last value, which need not be the whole."""
    design = design_of(Study.load(name, preset=preset, home=home.root))
    for question in design.questions.values():
        path = design.paths[question.curve.path]
        along, values = path.along or design.along, path.values or design.values
        if isinstance(question, Higher) and along != "fraction":
            assert question.values is not None
            assert set(question.values) == set(values)


def test_the_guide_is_compared_with_itself_alone_at_the_least_fraction(home: Home) -> None:
    design = design_of(Study.load("guided-reconstruction", home=home.root))
    first = next(iter(design.questions.values()))
    assert (first.curve.path, first.than.path) == ("guided", "guided")
    assert first.than.at == min(design.values)
    alone = design.paths["anchor-alone"]
    assert (alone.along, alone.point["fraction"]) == ("scale", min(design.values))
    assert alone.values is not None
    assert (alone.values[0], alone.values[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("preset", [None, "smoke"])
def test_another_anchor_is_set_in_a_word_beside_the_damaged_one(
    preset: str | None, home: Home
) -> None:
    settings = {"anchor": "embedded:llama"}
    study = Study.load("guided-reconstruction", settings=settings, preset=preset, home=home.root)
    configs = {item.trial.arm: item.trial.config.model_dump() for item in study.plan().to_run}
    assert configs["hadamard-row"]["anchor"].startswith("embedded:llama")
    damaged = configs["damaged-anchor"]
    assert (damaged["anchor"], damaged["anchor_rate"]) == (None, 0.02)


def test_another_model_and_data_are_set_in_a_word(home: Home, tmp_path: Path) -> None:
    story = "One day a small dog went to the river and saw a big fish in the water. " * 8
    (tmp_path / "stories.txt").write_text("<|endoftext|>".join(f"{n} {story}" for n in range(400)))
    settings = {"data": str(tmp_path / "stories.txt"), "transform": "hadamard+dct", "prompts": 40}
    study = Study.load("guided-reconstruction", settings=settings, home=home.root)
    trials = study.plan().to_run
    study.maker.check(item.trial for item in trials)
    assert trials[0].trial.config.model_dump()["transform"] == "hadamard+dct"


@pytest.mark.slow
def test_the_smallest_run_of_emergence_answers_with_every_file(mlflow_home: Home) -> None:
    study = Study.load("emergence", preset="smoke", home=mlflow_home.root)
    study.run()
    plan = study.plan()
    assert plan.known == len(plan.trials) == 2
    folder = study.folder / "report"
    files = {path.name for path in folder.iterdir()}
    assert {
        "report.md", "report.html", "emergence_curve.csv", "emergence_curve.png",
        "emergence_curve.html", "noise_curve.csv", "text_samples.csv", "codecs.csv",
    } <= files  # fmt: skip
    with (folder / "emergence_curve.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["fraction", "cosine", "top10_overlap"]
    whole = [row for row in rows if float(row["fraction"]) == 1.0]
    assert {float(row["top10_overlap"]) for row in whole} == {1.0}
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "goes on with after" in report
    assert "| recovery |" in report
    assert "sharper-than-int8" in report
