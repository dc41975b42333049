"""Inputs are found wherever a study file names one, and mean the same from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import BaseModel

from orchestrator import Study
from orchestrator.arms import arms_of
from orchestrator.home import Home
from orchestrator.inputs import absolute, config_with_inputs, with_inputs
from orchestrator.plan_file import write_plan
from tests.orchestrator.quick_study import arm, configurations, quick_study, rule
from workloads.contract import Input, WorkloadConfig


class Teacher(BaseModel):
    source: Annotated[str, Input("model")] = "t"
    weight: float = 1.0


class Other(BaseModel):
    kind: str = "other"


class Config(WorkloadConfig):
    model: Annotated[str | None, Input("model")] = None
    teacher: Other | Teacher | None = None
    name: str = "plain"


def marked(source: Input, value: str) -> str:
    return f"<{source.kind}:{value}>"


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"model": "a", "name": "a"}, {"model": "<model:a>", "name": "a"}),
        ({"teacher": {"source": "a"}}, {"teacher": {"source": "<model:a>"}}),
        ({"teacher.source": "a"}, {"teacher.source": "<model:a>"}),
        ({"teacher": None, "model": None}, {"teacher": None, "model": None}),
        ({"nowhere": "a", "no.where": "a"}, {"nowhere": "a", "no.where": "a"}),
        ({"teacher.kind": "a"}, {"teacher.kind": "a"}),
    ],
    ids=str,
)
def test_inputs_are_found_by_nested_and_dotted_keys(
    given: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert with_inputs(Config, given, marked) == changed


def test_inputs_of_a_validated_configuration_are_found_in_its_parts() -> None:
    config = Config(model="a", teacher=Teacher(source="b", weight=2.0))
    changed = config_with_inputs(config, marked)
    assert changed == Config(model="<model:a>", teacher=Teacher(source="<model:b>", weight=2.0))
    assert config_with_inputs(config, lambda source, value: value) is config


def test_a_name_that_is_no_path_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    assert absolute(Input("data"), "there") == str(tmp_path / "there")
    assert absolute(Input("data"), "not/there") == "not/there"


def listed(data: str) -> dict[str, Any]:
    return configurations(arm("plain", "baseline"), arm("fed", data=data))


def gridded(data: str) -> dict[str, Any]:
    return {"kind": "grid", "factors": {"data": [data], "effect": [0.0]}}


def searched(data: str) -> dict[str, Any]:
    space = {"data": {"choice": [data]}, "effect": {"uniform": [0, 1]}}
    return {"kind": "search", "space": space, "budget": 1, "metric": "train/x"}


@pytest.mark.parametrize("design", [listed, gridded, searched])
def test_the_resolved_study_names_its_inputs_from_any_folder(
    design: Any, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
    (here / "data.txt").write_text("12345")
    monkeypatch.chdir(here)
    study = Study.load(quick_study(design=design("data.txt")), home=home.root)
    write_plan(study, study.plan())
    monkeypatch.chdir(elsewhere)
    again = Study.load(study.folder / "study.yaml", home=home.root)
    kept = yaml.safe_load((study.folder / "study.yaml").read_text())["design"]

    assert kept == again.file.design.model_dump(mode="json")
    assert str(here / "data.txt") in str(kept)
    assert again.instance == study.instance
    assert [t.identity for t in again.trials()] == [t.identity for t in study.trials()]


@pytest.mark.parametrize("design", [listed, gridded])
def test_the_instance_goes_by_what_inputs_hold_and_not_by_where_they_lie(
    design: Any, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("12345")
    (tmp_path / "two").write_text("54321")
    (tmp_path / "longer").write_text("123456")

    def instance(name: str) -> str:
        return Study.load(quick_study(design=design(str(tmp_path / name))), home=home.root).instance

    assert instance("one") == instance("two")
    assert instance("one") != instance("longer")


def test_a_grid_point_is_named_by_its_file_and_can_be_the_comparator(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(name)
    design = {"kind": "grid", "factors": {"data": ["a.txt", "b.txt"]}}
    mapping = quick_study(design=design, verdict=rule("data=a.txt"))
    study = Study.load(mapping, home=home.root)
    assert [one.name for one in study.arms()] == ["data=a.txt", "data=b.txt"]


def test_files_of_one_name_in_two_folders_are_named_by_their_whole_paths(
    home: Home, tmp_path: Path
) -> None:
    paths = [tmp_path / folder / "a.txt" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("x")
    design = {"kind": "grid", "factors": {"data": [str(path) for path in paths]}}
    study = Study.load(quick_study(design=design), home=home.root)
    assert len({one.name for one in arms_of(study.file.design)}) == 2


def test_a_hub_name_is_pinned_when_the_study_is_loaded(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = quick_study(arm("still", role="comparator"), base={"data": "org/texts"})
    mapping["workload"] = "tests.quick_workload:HubQuick"
    study = Study.load(mapping, home=home.root)
    assert study.file.base["data"] == "org/texts@c0ffee"
    before = [trial.identity for trial in study.trials()]
    monkeypatch.setattr("tests.quick_workload.HubQuick.commit", "moved")
    assert [trial.identity for trial in study.trials()] == before  # a name that moves moves nothing
    assert [t.identity for t in Study.load(mapping, home=home.root).trials()] != before
