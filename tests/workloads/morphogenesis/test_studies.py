"""The studies that ship with the workload: what they plan, and that their smallest run answers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.factorial import coalition_arms, subject_arms
from orchestrator.home import Home
from orchestrator.study_file import Factorial
from tests.orchestrator.quick_study import finish

SLOT = {"blueprint": "norm", "blend": "sigmoid", "germinate_at": 0}


def grown(*slots: str) -> dict[str, Any]:
    """A factorial on a host of four slots."""
    return {
        "name": "slots",
        "question": "Which slots help?",
        "workload": "morphogenesis",
        "base": {
            "blocks": 4, "channels": 2, "samples": 100, "eval_samples": 40, "epochs": 3,
            "blend_epochs": 1, "policy": "schedule", "gates": "observe",
        },
        "seeds": [0],
        "design": {
            "kind": "factorial",
            "factors": {slot: {f"slots.{slot}": SLOT} for slot in slots},
        },
    }  # fmt: skip


THREE = ("slot0", "slot1", "slot2")
FOUR = (*THREE, "slot3")


@pytest.mark.parametrize("preset", [None, "smoke"])
@pytest.mark.parametrize("name", ["morphogenesis", "counterfactual"])
def test_a_shipped_study_can_be_planned(name: str, preset: str | None, home: Home) -> None:
    study = Study.load(name, preset=preset, home=home.root)
    plan = study.plan()
    study.maker.check(item.trial for item in plan.to_run)
    assert study.file.verdict is not None
    comparator = [item for item in plan.to_run if item.trial.arm == study.file.verdict.comparator]
    assert len(comparator) == len(study.file.seeds)


def test_the_counterfactual_study_trains_every_combination_and_asks_of_the_whole(
    home: Home,
) -> None:
    study = Study.load("counterfactual", home=home.root)
    design = study.file.design
    assert isinstance(design, Factorial)
    assert len(coalition_arms(design)) == 8
    assert subject_arms(design) == ("early+mid+late",)
    assert len(study.file.seeds) == 5
    identities = {item.trial.identity for item in study.plan().to_run}
    assert len(identities) == (8 + 2) * 5


def test_the_thesis_is_a_rule_that_is_stated_before_the_run(home: Home) -> None:
    rule = Study.load("morphogenesis", home=home.root).file.verdict
    assert rule is not None
    stated = {one.against: (one.arm, one.kind, one.margin) for one in rule.comparisons}
    for host in ("host_1.0", "host_1.25", "host_1.625"):
        assert stated[host] == ("grown", "non_inferiority", 2.0)
    assert stated["static"] == ("grown", "superiority", None)


def test_a_fourth_slot_runs_exactly_the_new_arms_and_what_the_old_ones_gave_stands(
    home: Home, tmp_path: Path
) -> None:
    three = Study.load(grown(*THREE), home=home.root)
    assert len(finish(three)) == 8
    old = {path: path.read_bytes() for path in home.trials.glob("*/outcome-*.json")}
    four = Study.load(grown(*FOUR), home=home.root)
    new = {i.trial.identity for i in four.plan().trials if "slot3" in i.trial.arm.split("+")}
    ran = finish(four)
    assert (len(ran), set(ran)) == (8, new)
    assert {path: path.read_bytes() for path in old} == old
    assert four.plan().counts == {"done": 16}

    # the same arm with a fourth slot in its network, in which nothing is ever planted
    off = grown(*THREE)
    never = {**SLOT, "germinate_at": off["base"]["epochs"]}
    off["base"]["slots"] = {"slot0": SLOT, "slot2": SLOT, "slot3": never}
    off["design"] = {"kind": "configurations", "arms": [{"name": "slot0+slot2"}]}
    other = Study.load(off, home=tmp_path / "other")
    finish(other)
    known = numbers(three, "slot0+slot2")
    assert numbers(other, "slot0+slot2") == known
    assert numbers(four, "slot0+slot2+slot3") != known


def numbers(study: Study, arm: str) -> dict[str, float | None]:
    """What a trial's training and its model came to."""
    item = next(item for item in study.plan().trials if item.trial.arm == arm)
    assert item.record.outcome is not None
    values = item.record.outcome.values()
    return {name: values[name] for name in ("accuracy", "loss", "val_accuracy", "val_loss")}


@pytest.mark.slow
def test_the_smallest_run_of_the_counterfactual_study_answers_everything(
    mlflow_home: Home,
) -> None:
    study = Study.load("counterfactual", preset="smoke", home=mlflow_home.root)
    study.run()
    plan = study.plan()
    assert plan.known == len(plan.trials) == (8 + 2) * 2
    report = study.folder / "report"
    files = {path.name for path in report.rglob("*") if path.is_file()}
    assert {"growth.md", "matrices.csv", "matrices.png", "growth_timeline.png"} <= files
    rows = _rows(next(report.rglob("matrices.csv")))
    last = max(int(row["epoch"]) for row in rows)
    of_whole = {row["on"] for row in rows if row["arm"] == "early+mid+late"}
    assert len(of_whole) == 8
    assert last == study.file.base["epochs"]
    verdict = study.verdict()
    assert verdict.state == "screen"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
