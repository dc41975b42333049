"""The design `fractions`: what it asks, what it refuses, and how it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli.looking import _plan_json
from orchestrator.cli.plan_text import summary_lines
from orchestrator.errors import UsageError
from orchestrator.evaluation.points import asked_points, asks_points
from orchestrator.fractions import curves_asked
from orchestrator.home import Home
from orchestrator.study import Study
from orchestrator.study_file import Fractions, canonical_design
from tests.conftest import ROOT
from tests.orchestrator.evaluation.dials import VALUES, dial_mapping, dial_study
from tests.orchestrator.evaluation.games import GAME

Change = Callable[[dict[str, Any]], Any]


def load(home: Home, change: Change) -> Study:
    mapping = dial_mapping()
    change(mapping["design"])
    return Study.load(mapping, home=home.root)


def test_a_curve_is_an_arm_and_a_path(home: Home) -> None:
    curves = curves_asked(dial_study(home))
    assert [(c.arm, c.path) for c in curves] == [
        ("steep", "zeros"),
        ("steep", "noise"),
        ("flat", "zeros"),
    ]
    assert {c.along for c in curves} == {"fraction"}
    assert all(c.values == tuple(VALUES) for c in curves)
    assert curves[0].points[0] == ({"fraction": 0.2, "fill": "zero"},)


def test_there_is_one_draw_where_nothing_is_random(home: Home) -> None:
    noise = curves_asked(dial_study(home))[1]
    assert [len(points) for points in noise.points] == [2, 2, 2, 2, 1]
    assert [point["draw"] for point in noise.points[0]] == [0, 1]
    assert noise.points[-1] == ({"fraction": 1.0},)


def test_what_paths_share_is_asked_once_by_path_then_draw_then_value(home: Home) -> None:
    study = dial_study(home)
    steep, flat = study.trials()
    asked = [(p.get("fill"), p.get("draw"), p["fraction"]) for p in asked_points(study, steep)]
    zeros = [("zero", None, value) for value in VALUES[:-1]] + [(None, None, 1.0)]
    noise = [("random", draw, value) for draw in (0, 1) for value in VALUES[:-1]]
    assert asked == zeros + noise
    assert len(asked_points(study, flat)) == len(VALUES)


def test_a_path_has_its_own_key_and_values(home: Home) -> None:
    study = dial_study(
        home,
        paths={
            "zeros": {"values": [0.1, 1.0]},
            "draws": {"point": {"fraction": 0.3}, "along": "fill", "values": [1.0]},
        },
        questions={},
    )
    with pytest.raises(UsageError, match=r"arm 'steep', path 'draws' at fill=1: fill is 1\.0"):
        curves_asked(study)
    with pytest.raises(UsageError, match="path 'draws' at fill=1"):
        study.plan()


def test_an_arm_that_no_path_asks_of_has_no_points(home: Home) -> None:
    study = dial_study(home, paths={"zeros": {"of": ["steep"]}}, questions={})
    assert asks_points(study, "steep")
    assert not asks_points(study, "flat")
    assert [plan.trial.arm for plan in study.plan().subjects] == ["steep"]


def test_what_is_said_about_paths_and_questions_renames_nothing(home: Home) -> None:
    plain, told = dial_mapping(), dial_mapping()
    told["design"]["paths"]["zeros"]["about"] = "nothing stands for the rest"
    told["design"]["questions"]["sharper"]["about"] = "the study's own"
    told["design"]["arms"][0]["about"] = "the steep one"
    instances = {Study.load(mapping, home=home.root).instance for mapping in (plain, told)}
    assert len(instances) == 1
    told["design"]["questions"]["sharper"]["margin"] = 0.1
    assert Study.load(told, home=home.root).instance not in instances


def test_the_canonical_design_of_a_written_study_is_the_same() -> None:
    design = Fractions.model_validate(dial_mapping()["design"])
    again = Fractions.model_validate(json.loads(design.model_dump_json()))
    assert canonical_design(again) == canonical_design(design)
    assert "about" not in json.dumps(canonical_design(design))


def test_a_fraction_out_of_range_is_refused_by_the_workload_before_the_run(home: Home) -> None:
    with pytest.raises(UsageError, match=r"path 'zeros' at fraction=1\.5: fraction is 1\.5, but"):
        dial_study(home, values=[0.5, 1.5]).plan()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(values=[0.5, 0.5]), "values must rise"),
        (lambda d: d.update(values=[0.5]), "design.values"),
        (lambda d: d["paths"]["zeros"].update(values=[0.5, 0.2]), "values must rise"),
        (lambda d: d.update(level=0.95), "low, level and high must rise"),
        (lambda d: d["arms"].append({"name": "flat"}), "flat is given more than once"),
        (lambda d: d["paths"].update({"a b": {}}), "a b"),
        (lambda d: d.update(paths={}), "design.paths"),
        (
            lambda d: d["arms"][1].update(role="comparator"),
            "arm 'flat' has the role 'comparator', which curves do not know",
        ),
        (lambda d: d["paths"]["noise"].update(of=["stepp"]), "Did you mean 'steep'"),
        (lambda d: d["paths"]["noise"].update(draws=[1, 1]), "draws must differ"),
        (lambda d: d["paths"]["zeros"]["point"].update(draw=3), "list it as draws"),
        (lambda d: d["paths"]["zeros"].update(along="fill"), "its point has 'fill' too"),
        (lambda d: d["paths"]["zeros"].update(along="draw"), "which has no order"),
        (
            lambda d: d["questions"]["sharper"]["than"].update(path="noise"),
            "path 'noise' is not asked of arm 'flat', only of steep",
        ),
        (lambda d: d["questions"]["sharper"]["than"].update(arm="fat"), "Did you mean 'flat'"),
        (lambda d: d["questions"]["sharper"]["curve"].update(path="zero"), "Did you mean 'zeros'"),
        (lambda d: d["questions"]["sharper"]["than"].update(arm="steep"), "with itself"),
        (lambda d: d["questions"]["sharper"]["than"].update(at=0.2), "has no width"),
        (lambda d: d["questions"]["higher"]["than"].update(at=0.3), "0.3 is not among the values"),
        (lambda d: d["questions"]["higher"].update(values=[0.3]), "not a value of both curves"),
        (lambda d: d["questions"]["higher"].update(margin=0), "margin"),
        (lambda d: d["questions"]["higher"].update(kind="taller"), "'sharper', 'higher', 'match"),
        (lambda d: d["paths"]["noise"].update(values=[0.3]), "no value in common"),
        (lambda d: d.update(metric="overlp"), "Did you mean 'overlap'"),
        (lambda d: d.update(metric="error_l2"), "intervals take scores by example"),
        (lambda d: d["questions"]["matched"].update(by="eror_l2"), "Did you mean 'error_l2'"),
    ],
)
def test_what_means_nothing_is_refused_when_it_is_read(
    home: Home, change: Change, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(home, change)
    assert said in str(caught.value)


def _along_fill(design: dict[str, Any]) -> None:
    design["paths"]["fills"] = {"point": {"fraction": 0.5}, "along": "fill", "values": [0, 1]}


def test_curves_along_different_keys_have_neither_width_nor_values_in_common(home: Home) -> None:
    def sharper(design: dict[str, Any]) -> None:
        _along_fill(design)
        design["questions"]["sharper"]["than"] = {"arm": "flat", "path": "fills"}

    def higher(design: dict[str, Any]) -> None:
        _along_fill(design)
        design["questions"]["higher"]["than"] = {"arm": "flat", "path": "fills"}

    def matched(design: dict[str, Any]) -> None:
        _along_fill(design)
        design["questions"]["matched"]["than"] = {"arm": "flat", "path": "fills"}

    with pytest.raises(UsageError, match="one width is of fraction, the other of fill"):
        load(home, sharper)
    with pytest.raises(UsageError, match="no values in common"):
        load(home, higher)
    load(home, matched)


def test_a_curve_may_be_held_against_one_point_of_another_path(home: Home) -> None:
    def change(design: dict[str, Any]) -> None:
        _along_fill(design)
        design["questions"]["higher"]["than"] = {"arm": "flat", "path": "fills", "at": 1}

    load(home, change)


def test_a_workload_that_does_not_say_what_a_point_is_is_refused(home: Home) -> None:
    mapping = {**dial_mapping(), "workload": GAME}
    with pytest.raises(UsageError, match="cannot be asked along values"):
        Study.load(mapping, home=home.root)


def test_a_rule_for_trials_is_refused(home: Home) -> None:
    rule = {"metric": "size", "comparator": "flat", "bands": [{"at_least": 1, "name": "small"}]}
    with pytest.raises(UsageError, match=r"leave it out, and state design\.questions"):
        Study.load({**dial_mapping(), "verdict": rule}, home=home.root)


def test_two_arms_that_are_one_model_are_refused(home: Home) -> None:
    same = [{"name": "one"}, {"name": "two"}]
    with pytest.raises(UsageError, match="'one' and 'two' are the same configuration"):
        dial_study(home, arms=same, paths={"zeros": {}}, questions={}).plan()


def test_an_arm_is_one_model(home: Home) -> None:
    seeded = {"base": {"seeded": True}}
    with pytest.raises(UsageError, match=r"arm 'steep' has 5 seeds, .* seeds: \[0\]"):
        dial_study(home, seeded).plan()
    assert len(dial_study(home, {**seeded, "seeds": [3]}).plan().trials) == 2


def test_a_plan_tells_curves_paths_and_questions(home: Home) -> None:
    study = dial_study(home)
    plan = study.plan()
    assert plan.notes == ("3 curves of overlap: 2 paths on 2 arms",)
    lines = summary_lines(study, plan)
    assert "  path zeros: fill=zero; fraction 0.2 to 1 (5 values)" in lines
    assert any(line.endswith("2 draws where something is random; of steep") for line in lines)
    asked = "does steep/zeros rise more sharply than flat/zeros? (margin 0.05)"
    assert f"  asks sharper: {asked}" in lines


def test_seeds_that_change_nothing_are_told(home: Home) -> None:
    told = dial_study(home, {"seeds": [1, 2]}).plan()
    assert told.notes[1].startswith("seeds 1, 2 change nothing")
    assert [item.trial.seed for item in told.trials] == [0, 0]


def test_a_plan_for_machines_has_points_and_curves(home: Home) -> None:
    study = dial_study(home)
    told = json.loads(json.dumps(_plan_json(study, study.plan())))
    assert [entry["asked"] for entry in told["points"]] == [13, 5]
    assert [(c["arm"], c["path"], len(c["points"])) for c in told["curves"]] == [
        ("steep", "zeros", 5),
        ("steep", "noise", 5),
        ("flat", "zeros", 5),
    ]


def test_a_study_as_it_was_written_is_the_same_study(home: Home, tmp_path: Path) -> None:
    from orchestrator.plan_file import write_plan

    study = dial_study(home)
    write_plan(study, study.plan())
    again = Study.load(study.folder / "study.yaml", home=home.root)
    assert again.instance == study.instance
    found = Study.last_run("dial", home=home.root)
    assert found is not None
    assert curves_asked(found) == curves_asked(study)


def test_the_documented_study_is_one(home: Home) -> None:
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "fractions" in b)
    study = Study.load(yaml.safe_load(block), home=home.root)
    assert study.plan().notes[0] == "4 curves of top10_overlap: 3 paths on 2 arms"
