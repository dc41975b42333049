"""What a job finds of its allocation."""

from __future__ import annotations

import os
import signal

import pytest

from cluster.local import usable_cpus
from cluster.slurm.environment import cpus_here, job_id, on_notice


def test_cpus_are_those_allotted_and_no_more_than_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    assert cpus_here() == usable_cpus()
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "100000")
    assert cpus_here() == usable_cpus()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert cpus_here() == 1


def test_a_job_is_named_as_the_queue_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert job_id() is None
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    assert job_id() == "15"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert job_id() == "12_3"


def test_a_notice_says_its_cause_and_being_woken_is_none() -> None:
    told: list[str] = []
    numbers = (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT)
    before = [signal.getsignal(number) for number in numbers]
    try:
        on_notice(told.append)
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        assert told == ["preempted", "time limit"]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
