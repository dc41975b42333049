"""Files of curves: means with every metric, crossings, answers, and pictures."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.curves.curve import StudyCurves
from orchestrator.report.curve_pictures import plot_arm, plot_pair
from orchestrator.report.curves import arm_title, curve_rows, picture_title, threshold_rows
from orchestrator.report.effect_files import Written, in_file_name, write_csv


def write_curves(curves: StudyCurves, folder: Path) -> Written:
    """Writes curves.csv, thresholds.csv and curves.json, and as pictures the curves of each arm and
    the two of each question."""
    data = json.dumps(curves.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    files = [
        write_csv(folder / "curves.csv", curve_rows(curves)),
        write_csv(folder / "thresholds.csv", threshold_rows(curves)),
        folder / "curves.json",
    ]
    files[-1].write_text(data + "\n", encoding="utf-8")
    pictures: dict[str, str] = {}
    for answer in curves.answers:
        path = plot_pair(curves, answer, folder / f"answer-{in_file_name(answer.name)}.png")
        if path is not None:
            pictures[picture_title(answer)] = path.name
            files.append(path)
    for arm in dict.fromkeys(one.arm for one in curves.curves):
        path = plot_arm(curves, arm, folder / f"curves-{in_file_name(arm)}.png")
        if path is not None:
            pictures[arm_title(arm)] = path.name
            files.append(path)
    return Written(tuple(files), pictures)
