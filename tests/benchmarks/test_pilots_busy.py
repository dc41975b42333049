"""Pilots with 30-second trials are busy for nine tenths of the time that they hold nodes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.benchmarks.measuring import tell
from tests.lab.conftest import lab as lab
from tests.lab.fixtures import cases as cases
from tests.lab.lab import Lab
from tests.lab.proving import Case
from tests.lab.studies import steps_arm, steps_study

pytestmark = pytest.mark.lab

PILOTS = 3
TRIALS = 8 * PILOTS
TRIAL_S = 30.0
LEAST_BUSY = 0.9


@contextmanager
def time_held(case: Case, every_s: float = 0.5) -> Iterator[Callable[[], dict[str, float]]]:
    """Watches the queue while the block runs: seconds that each of the study's jobs ran."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every_s):
            said = case.ask("squeue", "-h", "-r", "-t", "RUNNING,COMPLETING", "-o", "%i")
            now = time.monotonic()
            for job in said.split():
                first.setdefault(job, now - every_s / 2)
                last[job] = now + every_s / 2

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: {job: last[job] - first[job] for job in first}
    finally:
        over.set()
        thread.join()


def test_pilots_are_busy_on_trials_of_thirty_seconds(
    lab: Lab, cases: Callable[..., Case], mlflow_schema: Path
) -> None:
    only = steps_arm("only", "comparator")
    slurm = {"pilots": PILOTS, "extra": {"exclusive": True}}
    study = steps_study("busy", only, seeds=TRIALS, steps=30, step_s=TRIAL_S / 30, slurm=slurm)
    case = cases(study)
    start = time.monotonic()
    with time_held(case) as held:
        done: subprocess.CompletedProcess[str] = case.orrery("run", "--on", "slurm", patience_s=580)
        spent_s = time.monotonic() - start
        time.sleep(2)
    assert done.returncode == 0, done.stderr
    outcomes = case.outcomes().values()
    assert len(outcomes) == TRIALS
    slept_s = TRIALS * TRIAL_S
    held_s = sum(held().values())
    busy = slept_s / held_s
    tell(
        "pilots-busy",
        {
            "pilots": PILOTS,
            "trials": TRIALS,
            "trial_s": TRIAL_S,
            "whole_run_s": spent_s,
            "held_s": held(),
            "busy": busy,
            "busy_by_outcomes": sum(o.finished_at_s - o.started_at_s for o in outcomes) / held_s,
            "least_busy": LEAST_BUSY,
        },
    )
    assert busy >= LEAST_BUSY
