"""`orrery calibrate` on a small study: what it says, what it leaves, and how it ends."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator import Study
from orchestrator.calibration.calibrating import calibrate
from orchestrator.calibration.result import Calibration
from orchestrator.calibration.written import calibration_notes, write_calibration
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.rule_hash import rule_hash
from tests.orchestrator.quick_study import (
    arm,
    configurations,
    finish,
    quick_study,
    rule,
    write_study,
)

REAL = "of finished trials"
ARMS = configurations(
    arm("plain", "baseline"), arm("better", effect=5.0), arm("worse", effect=-1.0)
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path, dict]:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("calibrated")
    mapping = quick_study(verdict=rule(), seeds=list(range(5)), design=ARMS)
    write_study(folder, mapping)
    study = Study.load(mapping, home=folder / "home")
    found = calibrate(study, 100, processes=1)
    return study, write_calibration(study, found), found.to_json()


def test_files_say_what_was_simulated_and_for_which_rule(
    calibrated: tuple[Study, Path, dict],  # type: ignore[type-arg]
) -> None:
    study, folder, data = calibrated

    assert folder == study.folder / "calibration"
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.json",
        "cells.csv",
        "power.png",
    ]
    assert json.loads((folder / "calibration.json").read_text()) == data
    rows = list(csv.DictReader((folder / "cells.csv").open()))
    assert len(rows) == len(data["cells"])
    assert [row["again"] for row in rows].count("True") >= 1
    assert data["rule"]
    assert data["studies"] == 100
    assert {one["part"] for one in data["parts"]} == {"verdict"}
    assert data["notes"]


def test_a_large_effect_is_found_and_a_small_one_is_not(
    calibrated: tuple[Study, Path, dict],  # type: ignore[type-arg]
) -> None:
    power = [one for one in calibrated[2]["power"] if one["conditions"]["seed SD"] == 0.0]

    assert [one["effect"] for one in power] == sorted(one["effect"] for one in power)
    assert power[-1]["rate"] > power[0]["rate"]


def test_a_calibration_is_told_in_notes_until_the_rule_changes(
    calibrated: tuple[Study, Path, dict],  # type: ignore[type-arg]
) -> None:
    study, _, data = calibrated
    other = Study.load(
        quick_study(verdict={**rule(), "equivalence_margin": 0.5}, seeds=[0, 1], design=ARMS),
        home=study.home.root,
    )

    (note,) = calibration_notes(study)

    assert "100 studies a cell" in note
    assert ("did not pass" in note) is not data["passes"]
    assert data["rule"] in note
    assert calibration_notes(other) == []


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"rule": "RULE"}', '{"wrong": 3}', '{"wrong": {"rate": null}}']
)
def test_a_damaged_calibration_is_none_and_is_to_be_made_again(
    tmp_path: Path, content: str
) -> None:
    study = Study.load(quick_study(verdict=rule(), design=ARMS), home=tmp_path / "home")
    hash_now = rule_hash(study.file)
    whole = {"rule": hash_now, "passes": True, "studies": 9, "wrong": None}
    path = study.folder / "calibration" / "calibration.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(whole))
    assert calibration_notes(study) == [
        f"The rule {hash_now} passed its calibration (9 studies a cell)."
    ]
    if "wrong" in content:
        content = json.dumps(whole | json.loads(content))
    path.write_text(content.replace("RULE", str(hash_now)))
    (note,) = calibration_notes(study)
    assert f"orrery calibrate {study.name}" in note
    assert "calibration.json' cannot be read" in note


def test_finished_trials_are_drawn_from(tmp_path: Path) -> None:
    study = Study.load(
        quick_study(verdict=rule(), seeds=[0, 1, 2], design=ARMS), home=tmp_path / "home"
    )
    finish(study)

    found = calibrate(study, 100, processes=1)

    assert any("finished trials were read" in note for note in found.notes)
    real = [one.conditions for one in found.cells if one.conditions.get("scores") == REAL]
    assert {one["4 x noisier"] for one in real} == {"none", "an arm", "comparator"}
    assert {one["seed SD"] for one in real} == {0.0, 1.0, 3.0}
    assert len({one["truth"] for one in real}) == 2  # a miss on either side is seen


def test_files_that_cannot_be_written_leave_those_that_were(
    calibrated: tuple[Study, Path, dict],  # type: ignore[type-arg]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, folder, data = calibrated
    rename = Path.rename

    def full(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith(".old"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"):
        write_calibration(study, Calibration("s", "s-1", "other", "layout", 9, 0, (), ()))

    assert json.loads((folder / "calibration.json").read_text()) == data
    assert [path.name for path in study.folder.iterdir() if path.name.startswith(".cal")] == []


def test_a_study_without_a_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to calibrate"):
        calibrate(Study.load(quick_study(), home=tmp_path / "home"), 100, processes=1)


def test_the_command_tells_and_ends_by_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})  # no processes for so little
    path = write_study(tmp_path, quick_study(verdict=rule(), seeds=list(range(5)), design=ARMS))
    words = ["calibrate", str(path), "--home", str(tmp_path / "home"), "--studies", "100"]

    told = CliRunner().invoke(app, words)

    assert told.exit_code in (0, 1)
    assert ("Not passed" in told.stdout) == (told.exit_code == 1)
    assert "false positives" in told.stdout
    assert "Power by true effect" in told.stdout
    assert "calibration" in told.stdout.splitlines()[-1]
