"""What a job finds of its allocation, and how it is told to leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from cluster.local import usable_cpus


def job_id() -> str | None:
    """This process's job: `12`, or `12_3` in an array; None outside SLURM."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID")


def rank() -> int:
    """Which of the job's processes this is, from 0."""
    return int(os.environ.get("SLURM_PROCID", "0"))


def ranks() -> int:
    """How many processes srun started for this job."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS") or "1")


def cpus_here() -> int:
    """CPUs this process may use: those of its cpuset, and no more than it was allotted. Where
    SLURM does not confine jobs, the cpuset is the whole node."""
    allotted = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    try:
        return max(1, min(usable_cpus(), int(allotted))) if allotted else usable_cpus()
    except ValueError:
        return usable_cpus()


def on_notice(callback: Callable[[str], None]) -> None:
    """Calls back when SLURM tells this process to leave: `time limit` (SIGUSR2, which our jobs ask
    for with --signal) or `preempted` (SIGTERM: preemption, scancel, a node that is drained).

    Replaces the handlers of submitit, which would count a notice in a job of less than ten minutes
    as a timeout. `callback` runs between two instructions of the main thread: it may set a flag or
    write a small file. To be called from the main thread; raises `ValueError` elsewhere.
    """

    def told(number: int, frame: FrameType | None) -> None:
        callback("time limit" if number == signal.SIGUSR2 else "preempted")

    signal.signal(signal.SIGUSR2, told)
    signal.signal(signal.SIGTERM, told)
    # sent before SIGTERM, to wake a job that was stopped: it says nothing by itself
    signal.signal(signal.SIGCONT, lambda number, frame: None)
