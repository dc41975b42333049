"""The main study, small but whole, as a user runs it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ORRERY = Path(sys.executable).with_name("orrery")
TRIALS = 14 * 3 + 5
"""Eleven configurations and three trained controls under three seeds, five untrained controls."""


def orrery(home: Path, *words: str) -> tuple[int, Any]:
    """Runs a command with `--json`; its exit code and what it printed."""
    done = subprocess.run(
        [str(ORRERY), *words, "--json"],
        env={**os.environ, "ORRERY_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_the_smoke_preset_runs_to_a_verdict_and_is_not_run_twice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    smoke = ("lora-sweep", "--preset", "smoke")
    code, plan = orrery(home, "plan", *smoke)
    assert (code, plan["known"], plan["to_run"]) == (0, 0, TRIALS)

    code, ran = orrery(home, "run", *smoke)
    assert (code, ran["ran"], ran["counts"]) == (0, TRIALS, {"done": TRIALS})
    assert ran["verdict"]["state"] in ("gate not met", "screen")
    assert ran["verdict"]["answer"]

    code, again = orrery(home, "run", *smoke)
    assert (code, again["ran"]) == (0, 0)
    assert again["verdict"] == ran["verdict"]

    _, status = orrery(home, "status", *smoke)
    runs = [trial["mlflow_run_id"] for trial in status["trials"]]
    assert len(set(runs)) == TRIALS
    assert None not in runs
    with closing(sqlite3.connect(home / "mlflow.db")) as store:
        (count,) = store.execute("SELECT COUNT(*) FROM runs").fetchone()
        rows = store.execute("SELECT run_uuid, key, step FROM metrics").fetchall()
    assert count == TRIALS + 1
    assert len(rows) == len(set(rows)) > TRIALS

    report = Path(ran["report"])
    for name in ("report.html", "report.md", "report.csv", "means.png", "sweep_summary.txt"):
        assert (report / name).stat().st_size > 0
    assert "n/a" in (report / "report.md").read_text() or ran["verdict"]["gate"]["met"]
