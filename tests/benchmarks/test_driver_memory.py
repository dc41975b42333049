"""The driver's resident memory stays small when a study plans many trials."""

from __future__ import annotations

import subprocess
from pathlib import Path

from orchestrator.home import Home
from tests.benchmarks.measuring import tell, with_peak_memory
from tests.benchmarks.test_planning_speed import TRIALS, big_study
from tests.orchestrator.quick_study import command, environment, write_study

LIMIT_MIB = 1024


def peak_mib(tmp_path: Path, home: Home, *words: str) -> float:
    """Peak RSS of the process that drives the run; Ray's own processes are not in it."""
    study = write_study(tmp_path, big_study())
    code = command("run", study, "--home", home.root, *words)
    done = subprocess.run(
        [*with_peak_memory(code[2]), *code[3:]],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1]) / 1024


def test_a_driver_of_ten_thousand_trials_stays_under_a_gibibyte(
    tmp_path: Path, mlflow_home: Home
) -> None:
    few = peak_mib(tmp_path, mlflow_home, "--limit", "4")
    more = peak_mib(tmp_path, mlflow_home, "--limit", "200")
    tell(
        "driver-memory",
        {
            "planned": TRIALS,
            "peak_mib_4_run": few,
            "peak_mib_200_run": more,
            "kib_per_trial_run": (more - few) * 1024 / 196,
            "limit_mib": LIMIT_MIB,
        },
    )
    assert max(few, more) < LIMIT_MIB
