"""The files of a calibration: `studies/<instance>/calibration/`, whole or not there at all."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.calibration.words import condition_words, percent
from orchestrator.errors import DamagedFileError

if TYPE_CHECKING:
    from orchestrator.calibration.result import Calibration, CellResult
    from orchestrator.study import Study

FOLDER = "calibration"
JSON_NAME = "calibration.json"
COUNTS = (
    "studies",
    "wrong",
    "intervals",
    "covered",
    "families",
    "families_covered",
    "effects",
    "found",
)


class WrittenRate(msgspec.Struct, frozen=True):
    """A rate of a calibration."""

    rate: float


class WrittenCalibration(msgspec.Struct, frozen=True):
    """What a report reads of calibration.json."""

    rule: str | None
    passes: bool
    studies: int
    wrong: WrittenRate | None


def write_calibration(study: Study, calibration: Calibration) -> Path:
    """Writes the folder, in place of one that is there; returns it."""
    study.home.writable()
    study.folder.mkdir(parents=True, exist_ok=True)
    folder = study.folder / FOLDER
    new = study.folder / f".{FOLDER}.{os.getpid()}"
    old = study.folder / f".{FOLDER}.{os.getpid()}.old"
    new.mkdir()
    try:
        (new / JSON_NAME).write_text(json.dumps(calibration.to_json(), indent=1) + "\n")
        _write_cells(calibration, new / "cells.csv")
        if calibration.power():
            _draw_power(calibration, new / "power.png")
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def read_calibration(study: Study) -> WrittenCalibration | None:
    """What was written for this instance, if its rule is the one that the study has now. Raises
    `DamagedFileError` for what no calibration wrote."""
    from orchestrator.rule_hash import rule_hash

    path = study.folder / FOLDER / JSON_NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=WrittenCalibration)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"'{path}' cannot be read ({error}).") from error
    return found if found.rule == rule_hash(study.file) else None


def calibration_notes(study: Study) -> list[str]:
    """One line for a report of a study that was calibrated under the rule that it has, or whose
    calibration cannot be read."""
    try:
        found = read_calibration(study)
    except DamagedFileError as error:
        told = f"Whether it is calibrated is not known: {error}"
        return [f"{told} Calibrate again: orrery calibrate {study.name}"]
    if found is None:
        return []
    passed = "passed" if found.passes else "did not pass"
    wrong = found.wrong
    rate = f"; false in at most {percent(wrong.rate)} of simulated studies" if wrong else ""
    rule = f"rule {found.rule}" if found.rule else "what is asked of effects"
    return [f"The {rule} {passed} its calibration ({found.studies:,} studies a cell{rate})."]


def _write_cells(calibration: Calibration, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "cell", "effect", "again", *COUNTS])
        for one in calibration.cells:
            effect = "" if one.effect is None else one.effect
            counts = [getattr(one.counts, name) for name in COUNTS]
            writer.writerow([one.part, one.name, effect, one.again, *counts])


def _draw_power(calibration: Calibration, path: Path) -> None:
    """A panel for each part, a line for each condition: power by true effect."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    lines = power_lines(calibration)
    parts = list(dict.fromkeys(part for part, _ in lines))
    figure, axes = plt.subplots(
        len(parts), 1, figsize=(7, 3.4 * len(parts)), squeeze=False, constrained_layout=True
    )
    for part, axis in zip(parts, axes[:, 0], strict=True):
        for (one, words), cells in lines.items():
            if one == part:
                rates = [cell.power.rate for cell in cells if cell.power]
                axis.plot([cell.effect for cell in cells], rates, marker="o", label=words)
        axis.set(title=part, xlabel="true effect", ylabel="called what it is", ylim=(-0.02, 1.02))
        axis.axhline(0.8, color="0.7", linewidth=0.8)
        axis.legend(fontsize="small", frameon=False)
    figure.suptitle(f"{calibration.study}: power by true effect")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def power_lines(calibration: Calibration) -> dict[tuple[str, str], list[CellResult]]:
    """By part and conditions, but what is true, the cells that tell power, from the smallest effect
    to the largest."""
    lines: dict[tuple[str, str], list[CellResult]] = {}
    for one in calibration.power():
        alike = {key: value for key, value in one.conditions.items() if key != "truth"}
        lines.setdefault((one.part, condition_words(alike)), []).append(one)
    return {key: sorted(cells, key=lambda one: one.effect or 0.0) for key, cells in lines.items()}
