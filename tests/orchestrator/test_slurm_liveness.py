"""Attempts of SLURM jobs whose processes are on other hosts: their queue tells of their end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

import msgspec
import pytest

from cluster.slurm.queue import JobView
from orchestrator import slurm_liveness
from orchestrator.attempts import HEARTBEAT_LIMIT_S, Attempt, claim_attempt
from orchestrator.errors import BusyError
from orchestrator.home import Home, write_whole
from orchestrator.ledger import Ledger, read_trial
from orchestrator.process import Process
from orchestrator.records import encode
from orchestrator.slurm_liveness import Life, Queue


class Asked:
    """A queue that says what it is given, and keeps which jobs it was asked for."""

    def __init__(self, said: Mapping[str, Life]) -> None:
        self.said, self.queries = said, list[list[str]]()

    def __call__(self, jobs: Iterable[str]) -> Mapping[str, Life]:
        self.queries.append(list(jobs))
        return {job: self.said[job] for job in self.queries[-1] if job in self.said}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    look = Asked({"1": "dead", "2": "unknown"})
    monkeypatch.setattr(slurm_liveness, "_queue", Queue(look))
    return look


def elsewhere(home: Home, name: str, job: str, age_s: float = 10 * HEARTBEAT_LIMIT_S) -> Attempt:
    """An attempt of a job on another host, whose last heartbeat is so old."""
    held = claim_attempt(home.trial(name), outcome_number=0, study="s")
    process = Process("node7", "boot/other", 4711, 1.0, job)
    claim = msgspec.structs.replace(held.held, process=process)
    write_whole(held.folder / "claim.json", encode(claim))
    held.beat()
    then = time.time() - age_s
    os.utime(held.folder / "heartbeat", (then, then))
    return Attempt(held.folder)


def test_a_job_that_has_ended_is_dead_once_its_heartbeat_is_old(home: Home, asked: Asked) -> None:
    assert elsewhere(home, "a", "1").life() == "dead"
    assert asked.queries == [["1"]]


def test_a_job_whose_process_still_beats_is_alive_whatever_the_queue_says(
    home: Home, asked: Asked
) -> None:
    assert elsewhere(home, "a", "1", age_s=1.0).life() == "alive"
    assert asked.queries == []


def test_a_job_of_which_the_queue_tells_nothing_is_never_dead(home: Home, asked: Asked) -> None:
    for name, job in (("a", "2"), ("b", "3")):
        assert elsewhere(home, name, job).life() == "unknown"
        with pytest.raises(BusyError, match="is unknown"):
            claim_attempt(home.trial(name), outcome_number=0, study="s")
        record = read_trial(home, name)
        assert record.state == "running"
        assert record.failure is not None
        assert f"SLURM job {job}" in record.failure.cause


def test_the_trial_of_a_job_that_has_ended_can_be_claimed(home: Home, asked: Asked) -> None:
    last = elsewhere(home, "a", "1")
    assert claim_attempt(home.trial("a"), outcome_number=0, study="s").number == 1
    end = last.end()
    assert end is not None
    assert end.state == "preempted"


def test_one_query_serves_all_trials_and_is_kept_for_a_while(home: Home, asked: Asked) -> None:
    names = [f"t{number}" for number in range(6)]
    for number, name in enumerate(names):
        elsewhere(home, name, str(number % 3))
    records = Ledger(home).records(names)
    assert asked.queries == [["0", "1", "2"]]
    assert [records[name].state for name in names] == ["running", "preempted", "running"] * 2
    Ledger(home).records(names)
    assert len(asked.queries) == 1


def test_without_slurm_nothing_is_concluded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(slurm_liveness, "_queue", Queue(slurm_liveness._by_slurm))
    assert elsewhere(home, "a", "1").life() == "unknown"


@pytest.mark.parametrize(
    ("view", "life"),
    [
        (JobView("1", "ended", "TIMEOUT"), "dead"),
        (JobView("1", "queued", "PENDING"), "dead"),
        (JobView("1", "running", "RUNNING"), "unknown"),
        (JobView("1", "running", "SUSPENDED"), "unknown"),
        (JobView("1", "unknown"), "unknown"),
    ],
)
def test_what_the_queue_says_of_a_silent_process(view: JobView, life: Life) -> None:
    """A job that waits again was requeued, so its processes have ended."""
    assert slurm_liveness._life(view) == life


def test_a_task_of_an_array_is_named_as_the_queue_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    assert Process.current().slurm_job == "15"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert Process.current().slurm_job == "12_3"
