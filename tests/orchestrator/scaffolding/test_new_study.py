"""`orrery new study`: what it writes can be planned, and is never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orchestrator import Study, UsageError
from orchestrator.home import Home
from orchestrator.scaffolding import StudyRequest, new_study
from orchestrator.scaffolding.names import MOST_CHARACTERS
from orchestrator.study_file import StudyFile
from tests.orchestrator.quick_study import QUICK, finish
from workloads.latent_lora.config import LatentLoraConfig


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("design", ["configurations", "grid", "factorial", "search"])
def test_a_new_study_has_that_design_a_control_a_rule_and_a_small_version(design: str) -> None:
    made = new_study(StudyRequest("mine", design=design))
    study = Study.load(made.path, preset="smoke")
    assert made.path == Path("mine.yaml")
    assert study.file.design.kind == design
    assert study.file.verdict is not None
    roles = {arm.role for arm in study.arms()}
    assert {"comparator", "control"} <= roles
    assert study.plan().to_run
    assert study.file.seeds == [0, 1, 2]


def test_curves_are_begun_with_a_workload_that_has_them() -> None:
    study = Study.load(new_study(StudyRequest("mine", design="fractions")).path)
    assert study.file.workload == "dtdr"
    assert study.plan().subjects
    with pytest.raises(UsageError, match="Take --workload dtdr"):
        new_study(StudyRequest("other", "latent_lora", "fractions"))


def test_every_setting_is_listed_with_its_default_and_can_be_taken_as_it_stands() -> None:
    path = new_study(StudyRequest("mine")).path
    text = path.read_text()
    lines = [line.strip() for line in text.splitlines()]
    for name in LatentLoraConfig.model_fields:
        assert any(line.removeprefix("# ").startswith(f"{name}:") for line in lines), name
    assert "  # epochs" not in text  # is set
    assert "  # grad_clip: 1.0" in text
    path.write_text(text.replace("  # grad_clip: 1.0", "  grad_clip: 1.0"))
    assert Study.load(path).file.base["grad_clip"] == 1.0


def test_a_study_of_an_importable_workload_runs_to_its_verdict() -> None:
    study = Study.load(new_study(StudyRequest("mine", QUICK)).path)
    finish(study)
    assert study.verdict().state == "verdict"
    assert study.verdict().find("other-seeds") is not None


def test_a_copy_of_a_shipped_study_differs_in_its_name_alone() -> None:
    path = new_study(StudyRequest("mine", like="lora-sweep")).path
    shipped = Study.load("lora-sweep").file
    assert yaml.safe_load(path.read_text())["name"] == "mine"
    assert "# The source's recipe" in path.read_text()
    assert Study.load(path).file.model_copy(update={"name": "lora-sweep"}) == shipped


def test_nothing_is_overwritten_unasked() -> None:
    Path("mine.yaml").write_text("precious")
    with pytest.raises(UsageError, match="exists already, and nothing was written"):
        new_study(StudyRequest("mine"))
    assert Path("mine.yaml").read_text() == "precious"
    new_study(StudyRequest("mine", force=True))
    assert "name: mine" in Path("mine.yaml").read_text()


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (StudyRequest("My Study"), "Did you mean 'my-study'"),
        (StudyRequest("a" * (MOST_CHARACTERS + 1)), "at most 60 characters"),
        (StudyRequest("mine", "latent_lor"), "Did you mean 'latent_lora'"),
        (StudyRequest("mine", design="gird"), "Did you mean 'grid'"),
        (StudyRequest("mine", like="lora-swep"), "Did you mean 'lora-sweep'"),
        (StudyRequest("mine", out=Path("mine.txt")), "end in .yaml"),
    ],
    ids=["name", "length", "workload", "design", "like", "out"],
)
def test_what_cannot_be_written_is_told_with_what_can(request_: StudyRequest, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        new_study(request_)
    assert not list(Path().glob("mine*"))


def test_a_name_may_be_as_long_as_a_study_file_takes() -> None:
    from annotated_types import MaxLen

    lengths = [one for one in StudyFile.model_fields["name"].metadata if isinstance(one, MaxLen)]
    assert lengths[0].max_length == MOST_CHARACTERS
