"""Files of alarms: every run and signal, the corners of the curves, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.alarms.result import StudyAlarms
from orchestrator.report.alarms import BY_RATE, ROC, TIMELINE, TRAJECTORIES
from orchestrator.report.effect_files import Written, write_csv


def write_alarms(alarms: StudyAlarms, folder: Path) -> Written:
    """Writes alarms.csv, roc.csv, alarm-rates.csv, alarm-trajectories.csv and alarms.json, and four
    pictures, into a folder that is there."""
    from orchestrator.report import alarm_pictures as draw

    data = json.dumps(alarms.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = {
        "alarms.csv": run_rows(alarms),
        "roc.csv": roc_rows(alarms),
        "alarm-rates.csv": rate_rows(alarms),
        "alarm-trajectories.csv": trajectory_rows(alarms),
    }
    files = [write_csv(folder / name, rows) for name, rows in tables.items() if rows]
    files.append(folder / "alarms.json")
    files[-1].write_text(data + "\n", encoding="utf-8")
    drawn = {
        TIMELINE: draw.plot_timeline(alarms, folder / "alarms.png"),
        TRAJECTORIES: draw.plot_trajectories(alarms, folder / "alarm-trajectories.png"),
        ROC: draw.plot_roc(alarms, folder / "roc.png"),
        BY_RATE: draw.plot_by_rate(alarms, folder / "alarm-rates.png"),
    }
    pictures = {text: path.name for text, path in drawn.items() if path is not None}
    files += [path for path in drawn.values() if path is not None]
    return Written(tuple(files), pictures)


def run_rows(alarms: StudyAlarms) -> list[dict[str, Any]]:
    """A row a run and signal."""
    return [
        {
            "arm": one.arm,
            "seed": one.seed,
            "trial": one.trial,
            "part": one.part,
            "signal": one.signal,
            "onset": one.onset,
            "alarm_step": one.alarm_step,
            "delay": one.delay,
            "alarm_before_onset": one.before_onset,
            "largest_deviation": one.largest,
            "first_not_finite": one.not_finite,
        }
        for one in alarms.runs
    ]


def roc_rows(alarms: StudyAlarms) -> list[dict[str, Any]]:
    """The corners of every curve, in order."""
    return [
        {
            "arm": one.arm,
            "signal": one.signal,
            "synthetic": one.synthetic,
            "false_alarms": false,
            "detected": detected,
        }
        for one in alarms.roc
        for false, detected in zip(one.false_alarms, one.detected, strict=True)
    ]


def rate_rows(alarms: StudyAlarms) -> list[dict[str, Any]]:
    """Who is first in each arm, at every rate of false alarms."""
    return [
        {
            "arm": arm.arm,
            "synthetic": arm.synthetic,
            "rate": one.rate,
            "unseen_first": one.unseen_first,
            "unseen_than": one.unseen_than,
            **{
                f"{name}{end}": getattr(rate, part)
                for name, rate in (("first", one.first), ("than", one.than))
                for end, part in (("", "rate"), ("_low", "low"), ("_high", "high"))
            },
            "runs": one.first.runs,
            "ties": one.ties,
            "neither": one.neither,
        }
        for arm in alarms.arms
        for one in arm.by_rate
    ]


def trajectory_rows(alarms: StudyAlarms) -> list[dict[str, Any]]:
    """Means by arm, signal and step, beside the band outside which a step alarms."""
    rows = []
    for one in alarms.trajectories:
        threshold = alarms.threshold(one.signal)
        for place, step in enumerate(alarms.steps):
            rows.append(
                {
                    "arm": one.arm,
                    "signal": one.signal,
                    "step": step,
                    "mean": one.mean[place],
                    "runs": one.runs[place],
                    **{
                        f"healthy_{name}": _at(getattr(threshold, name, ()), place)
                        for name in ("mean", "low", "high")
                    },
                }
            )
    return rows


def _at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None
