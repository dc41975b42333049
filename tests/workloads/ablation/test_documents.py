"""What docs/ablation.md shows does what it says, and the study files can be planned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import Study
from orchestrator.evaluation.tables import asked_points, point_table
from orchestrator.home import Home
from workloads.evaluation import ON, SwitchableSubject
from workloads.recording import run_recorded
from workloads.registry import load_workload

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")
STUDY = ROOT / "workloads" / "ablation" / "studies" / "ablation.yaml"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The document's workload, from the folder it lies in."""
    package = tmp_path / "my_lab"
    package.mkdir()
    (package / "columns.py").write_text(blocks("python")[0])
    for name in ("my_lab", "my_lab.columns"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return load_workload("my_lab.columns:Columns")


def study(home: Path) -> Study:
    return Study.load(yaml.safe_load(blocks("yaml")[0]), home=home)


def test_the_shown_workload_gives_a_subject_whose_columns_matter(lab: Any, tmp_path: Path) -> None:
    config = lab.Config()
    trial = run_recorded(lab, {}, tmp_path)
    assert trial.result is not None
    packed = lab.pack_subject(config, trial.checkpoints[-1].path)
    subject = lab.open_subject(config, packed)
    assert isinstance(subject, SwitchableSubject)
    on = list(lab.switches(config))
    points = [{ON: on}, {ON: on[:3]}, {ON: []}]
    whole, without_width, none = (each.values["accuracy"] for each in subject.measure(points))
    assert whole == trial.result.metrics["accuracy"]
    assert whole is not None
    assert without_width is not None
    assert none is not None
    assert whole > 90 > without_width > none


def test_the_shown_study_asks_all_sixteen_coalitions_of_each_fit(lab: Any, tmp_path: Path) -> None:
    shown = study(tmp_path / "home")
    trials = shown.plan().to_run
    assert len(trials) == 5
    points = asked_points(shown, trials[0].trial)
    assert len({tuple(point[ON]) for point in points}) == len(points) == 16


@pytest.mark.slow
def test_the_shown_study_runs_to_a_complete_table(lab: Any, home: Home, tmp_path: Path) -> None:
    """Run from the folder it lies in: workers know the paths that their driver started with."""
    (tmp_path / "columns.yaml").write_text(blocks("yaml")[0])
    words = [sys.executable, "-m", "orchestrator.cli", "run", "columns.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = study(home.root)
    for item in shown.plan().trials:
        table = point_table(shown, item.trial)
        assert table.complete
        assert table.scores is not None
        assert table.scores.shape == (16, 75)


def test_the_shown_segments_are_evaluated() -> None:
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(blocks("python")[1], "docs/ablation.md", "exec", dont_inherit=True), names)
    assert len(names["accuracy"]) == 16
    assert len(set(names["accuracy"].values())) > 1


@pytest.mark.parametrize(
    ("preset", "points", "models"),
    [(None, 256, 1), ("smoke", 16, 1), ("questions", 256, 1), ("heads", 256, 1),
     ("adapters", 256, 5)],
)  # fmt: skip
def test_every_preset_asks_all_coalitions_of_its_parts(
    preset: str | None, points: int, models: int, tmp_path: Path
) -> None:
    planned = Study.load(STUDY, home=tmp_path, preset=preset)
    trials = planned.plan().to_run
    planned.maker.check(item.trial for item in trials)
    assert len(trials) == models
    assert len(asked_points(planned, trials[0].trial)) == points
