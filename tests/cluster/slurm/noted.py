"""What the jobs of these tests run: functions that a job imports by name."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from cluster.slurm.environment import cpus_here, job_id, on_notice, rank, ranks


def note(where: str) -> None:
    """Writes what this process finds of its job into a file for each rank."""
    told = {
        "job": job_id(),
        "rank": rank(),
        "ranks": ranks(),
        "cpus": cpus_here(),
        "folder": os.getcwd(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "safe_path": os.environ.get("PYTHONSAFEPATH"),
        "given": os.environ.get("GIVEN"),
    }
    Path(f"{where}-{rank()}.json").write_text(json.dumps(told))


def wait_for_notice(where: str) -> None:
    """Notes each notice it is given, and ends after the first."""
    told: list[str] = []
    on_notice(told.append)
    Path(f"{where}.ready").touch()
    while not told:
        time.sleep(0.01)
    with open(where, "a") as file:
        file.write(f"{told[0]}\n")


def fail(where: str) -> None:
    raise RuntimeError(where)
