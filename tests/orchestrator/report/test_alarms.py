"""Alarms in a report: who is first, thresholds, the synthetic arm apart, and files that agree."""

from __future__ import annotations

import csv
import json
import math
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from orchestrator.alarms.judging import judge_alarms
from orchestrator.alarms.result import Rate, StudyAlarms
from orchestrator.alarms.rule import AlarmRule
from orchestrator.alarms.series import ArmRuns, Run, Series
from orchestrator.findings import Findings
from orchestrator.intervals import Interval, Median
from orchestrator.report import StudyInfo, render_findings, write_findings_report
from orchestrator.report.alarms import (
    alarm_sections,
    brief_rate,
    interval_text,
    median_text,
    rate_text,
)
from tests.orchestrator.series_study import alarm_rule

STEPS, ONSET = 20, 5


def arm(name: str, seeds: range, ratio: float = 0.0, loss: float = 0.0, nan: int = 99) -> ArmRuns:
    """Runs whose signals rise so fast from the onset on; the loss is NaN from step `nan` on."""
    runs = []
    rise = np.maximum(0, np.arange(STEPS) + 1 - ONSET)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        one = 0.3 + 0.01 * rng.standard_normal(STEPS) + ratio * rise
        two = 2.0 + 0.1 * rng.standard_normal(STEPS) + loss * rise
        structure = [None if step < 3 else float(x) for step, x in enumerate(one)]
        losses = [math.nan if step >= nan else float(x) for step, x in enumerate(two)]
        signals = {"structure": Series.of(structure), "loss": Series.of(losses)}
        runs.append(Run(seed, f"t{seed}", signals, ONSET))
    return ArmRuns(name, tuple(runs), planned=len(runs))


def judged(calibration: int = 99, unseen: int = 200) -> StudyAlarms:
    rule = AlarmRule.model_validate(alarm_rule())
    return judge_alarms(
        rule,
        [
            arm("healthy", range(8000, 8000 + calibration)),
            arm("unseen", range(5000, 5000 + unseen)),
            arm("collapse", range(2000, 2020), ratio=0.02),
            arm("explosion", range(3000, 3020), loss=0.5, nan=12),
            arm("drawn", range(4000, 4020), ratio=0.1),
        ],
    )


@pytest.fixture(scope="module")
def alarms() -> StudyAlarms:
    return judged()


@pytest.fixture(scope="module")
def folder(alarms: StudyAlarms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("report")
    info = StudyInfo("watch", "watch-1", "Which warns first?")
    write_findings_report(Findings(alarms=alarms), info, [], home)
    return home


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def terminal(alarms: StudyAlarms, width: int = 150) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(render_findings(Findings(alarms=alarms)))
    return console.export_text()


def test_the_terminal_says_who_is_first_and_shows_the_synthetic_arm_apart(
    alarms: StudyAlarms,
) -> None:
    text = " ".join(terminal(alarms).split())
    assert alarms.answer.split(".")[0] in text
    counted, _, apart = text.partition("Synthetic signal: drawn into the measurement")
    assert "20/20 [.8" in counted
    assert "structure first" in counted
    assert "loss first" in counted
    assert "drawn synthetic signal 20/20" not in counted
    assert "drawn synthetic signal 20/20 [.83, 1]" in apart


def test_a_terminal_of_80_columns_loses_nothing(alarms: StudyAlarms) -> None:
    text = terminal(alarms, 80)
    assert "…" not in text
    for name in ("collapse", "explosion", "drawn"):
        assert name in text


def test_every_run_and_signal_has_a_row(folder: Path, alarms: StudyAlarms) -> None:
    found = rows(folder / "alarms.csv")
    assert len(found) == 2 * (99 + 200 + 3 * 20)
    one = next(
        r for r in found if (r["arm"], r["seed"], r["signal"]) == ("explosion", "3000", "loss")
    )
    assert int(one["delay"]) == int(one["alarm_step"]) - ONSET
    assert (one["part"], one["first_not_finite"], one["largest_deviation"]) == ("arm", "12", "")
    parts = {(r["arm"], r["part"]) for r in found}
    assert {("healthy", "calibration"), ("unseen", "unseen"), ("drawn", "synthetic")} < parts
    alarmed = sum(
        r["arm"] == "collapse" and r["signal"] == "structure" and bool(r["alarm_step"])
        for r in found
    )
    times = alarms.arms[0].times("structure")
    assert times is not None
    assert alarmed == times.detected.events


def test_the_curves_can_be_drawn_again_from_their_files(folder: Path, alarms: StudyAlarms) -> None:
    corners = [
        r for r in rows(folder / "roc.csv") if (r["arm"], r["signal"]) == ("drawn", "structure")
    ]
    x = [float(r["false_alarms"]) for r in corners]
    y = [float(r["detected"]) for r in corners]
    roc = next(one for one in alarms.roc if (one.arm, one.signal) == ("drawn", "structure"))
    assert (x[-1], y[-1]) == (1.0, 1.0)
    assert np.trapezoid(y, x) == pytest.approx(roc.area.value)
    rates = rows(folder / "alarm-rates.csv")
    assert {r["arm"] for r in rates} == {"collapse", "explosion", "drawn"}
    at = next(r for r in rates if (r["arm"], float(r["rate"])) == ("collapse", 0.02))
    assert float(at["first"]) == alarms.arms[0].first.rate
    means = [r for r in rows(folder / "alarm-trajectories.csv") if r["arm"] == "collapse"]
    buffering = [r for r in means if r["signal"] == "structure" and int(r["step"]) < 3]
    assert {r["mean"] for r in buffering} == {""}
    last = next(r for r in means if (r["signal"], r["step"]) == ("structure", "19"))
    assert float(last["healthy_high"]) < float(last["mean"])


def test_the_pages_show_tables_and_pictures(folder: Path, alarms: StudyAlarms) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.index(alarms.answer) < text.index("Who alarms first")
    for title in ("## Thresholds", "## When they alarm", "## Any threshold", "## Other rates"):
        assert title in text
    for name in ("alarms.png", "alarm-trajectories.png", "roc.png", "alarm-rates.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in text
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("http://www.w3.org", "")
    kept = json.loads((folder / "alarms.json").read_text(encoding="utf-8"))
    assert kept["calibrated"] is True
    assert len(kept["runs"]) == 2 * 359


def test_a_mean_stands_beside_its_bounds_and_apart_from_what_labels_go_by(
    alarms: StudyAlarms,
) -> None:
    tables = {one.caption: one for part in alarm_sections(alarms, {}) for one in part.tables}
    means = next(one for name, one in tables.items() if name.startswith("Restricted means"))
    explosion = alarms.find("explosion")
    assert explosion is not None
    low, high = explosion.lead.low, explosion.lead.high
    assert low is not None
    assert high is not None
    lead = ("explosion", "lead of structure", f"{explosion.lead.value:+.3g}")
    assert (*lead, f"{low:+.3g} to {high:+.3g}") in means.rows
    first = tables["Who alarms first; lead of structure in steps"]
    assert first.head[1] == "label"
    assert "mean lead" not in first.head
    leaning = next(one for name, one in tables.items() if name.startswith("What labels go by"))
    assert [row[0] for row in leaning.rows] == ["collapse", "explosion"]
    assert leaning.rows[1][2].startswith("20 of 20 [0.8")
    words = " ".join(line for part in alarm_sections(alarms, {}) for line in part.lines)
    assert "simultaneous over the 2 arms that count, all others hold one by one" in words


def test_without_calibration_figures_are_shown_and_no_arm_is_called_first() -> None:
    few = judged(20, 30)
    assert {one.label for one in few.arms} == {"not calibrated", "synthetic signal"}
    text = " ".join(terminal(few).split())
    assert "20/20" in text
    assert "collapse not calibrated" in text
    assert "Next: give healthy at least 99 seeds and unseen at least 200 seeds." in text
    assert "99 calibration runs" in " ".join(
        line for one in alarm_sections(few, {}) for line in one.lines
    )


def test_a_study_without_any_run_has_a_report(tmp_path: Path) -> None:
    rule = AlarmRule.model_validate(alarm_rule(synthetic=[]))
    names = ("healthy", "unseen", "collapse")
    none = judge_alarms(rule, [ArmRuns(name, (), planned=3, waiting=3) for name in names])
    files = write_findings_report(
        Findings(alarms=none), StudyInfo("watch", "watch-1", "Which?"), [], tmp_path
    )
    assert not [path for path in files.files if path.suffix == ".png"]
    assert "n/a" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "no verdict yet" in terminal(none).lower()


def test_what_is_missing_is_never_a_number() -> None:
    assert rate_text(Rate(0, 0, None, None, None)) == "0 of 0"
    assert brief_rate(Rate(0, 0, None, None, None)) == "0/0"
    assert brief_rate(Rate(0, 20, 0.0, 0.0, 0.168)) == "0/20 [0, .17]"
    assert interval_text(Interval(None)) == "n/a"
    assert interval_text(Interval(3.25, 1.0, 5.5), sign=True) == "+3.25 [+1, +5.5]"
    assert median_text(Median(None)) == "n/a"
    assert median_text(Median(None, reached=False, low=9.0, open_high=True)) == (
        "not reached [9, never]"
    )
    assert median_text(Median(19.0, low=17.0, high=22.0)) == "19 [17, 22]"
