"""What an array task runs, called as the job calls it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import Study, cancelling
from orchestrator.array.task import run_task
from orchestrator.array.waves import TaskFile, new_wave, started_tasks, task_path
from orchestrator.attempts import Attempt, attempts, claim_attempt, outcomes
from orchestrator.engine.ticket import Ticket
from orchestrator.home import Home
from tests.orchestrator.quick_study import (
    FRESH,
    arm,
    computed,
    finish,
    quick_study,
    tickets,
    wait_until,
)


def task_of(study: Study, *made: Ticket, **parts: Any) -> Path:
    """Writes a task of these tickets (default: of every missing trial); its file."""
    named = [
        msgspec.structs.replace(ticket, token=f"token {place}")
        for place, ticket in enumerate(made or tickets(study))
    ]
    reusable = study.workload.reusable
    parts = {"reusable": reusable, "study_folder": str(study.folder), **parts}
    return task_path(new_wave(study.folder, [TaskFile(tickets=named, **parts)]), 0)


def run_apart(task: Path, environment: Mapping[str, str] | None = None) -> int | None:
    """Runs a task in a process of its own, as SLURM does; its exit code."""
    process = started(task, environment)
    process.join(120)
    return process.exitcode


def started(task: Path, environment: Mapping[str, str] | None = None) -> Any:
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_as_job, args=(str(task), dict(environment or {})))
    process.start()
    return process


def _as_job(task: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    run_task(task)


def load(home: Home, *arms: Any, **parts: Any) -> Study:
    return Study.load(quick_study(*arms, **parts), home=home.root)


def tries(home: Home, ticket: Ticket) -> list[Attempt]:
    return attempts(home.trial(ticket.identity))


def values(home: Home, study: Study) -> dict[str, Any]:
    return {
        item.trial.identity: outcomes(home.trial(item.trial.identity))[-1].values()
        for item in study.plan().trials
    }


def test_a_task_runs_its_trials_and_gives_the_numbers_of_a_local_run(
    home: Home, tmp_path: Path
) -> None:
    study = load(home)
    task = task_of(study)
    assert run_apart(task) == 0
    assert started_tasks(task.parent) == {0}
    assert study.plan().counts == {"done": 4}
    elsewhere = Home.find(tmp_path / "elsewhere").writable()
    local = load(elsewhere)
    finish(local)
    assert values(home, study) == values(elsewhere, local)


@pytest.mark.slow
def test_a_task_that_runs_again_repeats_nothing(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "steps"
    study = load(home, base={"steps": 3, "log": str(log)})
    task = task_of(study)
    assert run_apart(task) == 0
    steps = computed(log)
    assert run_apart(task) == 0
    assert computed(log) == steps
    assert len({step.pid for step in steps}) == 1


@pytest.mark.slow
def test_a_workload_that_is_not_reusable_has_a_fresh_process_for_each_trial(
    home: Home, tmp_path: Path
) -> None:
    log = tmp_path / "steps"
    study = load(home, workload=FRESH, base={"steps": 2, "log": str(log)})
    assert run_apart(task_of(study)) == 0
    assert len({step.pid for step in computed(log)}) == 4


@pytest.mark.slow
def test_a_failed_trial_stops_no_other(home: Home) -> None:
    study = load(home, arm("bad", fault="raise"), arm("good"), seeds=[0])
    bad, good = tickets(study)
    assert run_apart(task_of(study, bad, good)) == 0
    (attempt,) = tries(home, bad)
    end = attempt.end()
    assert end is not None
    assert (end.state, end.failure and end.failure.kind) == ("failed", "user_error")
    assert len(outcomes(home.trial(good.identity))) == 1


@pytest.mark.slow
def test_a_trial_that_failed_for_good_is_not_tried_again_by_its_task(home: Home) -> None:
    study = load(home, arm("bad", fault="raise"), seeds=[0])
    (bad,) = tickets(study)
    task = task_of(study, bad)
    run_apart(task)
    run_apart(task)
    assert len(tries(home, bad)) == 1


@pytest.mark.slow
def test_an_attempt_that_was_cut_off_is_ended_and_resumed_by_the_task_that_comes_back(
    home: Home, tmp_path: Path
) -> None:
    log = tmp_path / "steps"
    study = load(home, arm("a", fault="kill", fault_step=3, fault_times=1), seeds=[0],
                 base={"steps": 4, "log": str(log)})  # fmt: skip
    (ticket,) = tickets(study)
    task = task_of(study, ticket)
    assert run_apart(task) == -signal.SIGKILL
    assert run_apart(task) == 0
    first, second = tries(home, ticket)
    end = first.end()
    assert end is not None
    assert (end.state, end.failure and end.failure.kind) == ("preempted", "node_lost")
    assert [step.step for step in computed(log)] == [1, 2, 3, 4]
    assert outcomes(home.trial(ticket.identity))[0].attempt == second.number


@pytest.mark.slow
def test_a_trial_that_ends_its_process_again_and_again_fails_alone(home: Home) -> None:
    study = load(home, arm("poison", fault="kill", fault_step=1), arm("good"), seeds=[0])
    poison, good = tickets(study)
    task = task_of(study, poison, good)
    assert run_apart(task) == -signal.SIGKILL
    assert [run_apart(task) for _ in range(3)][-1] == 0
    last = tries(home, poison)[-1].end()
    assert last is not None
    assert last.state == "failed"
    assert last.failure is not None
    assert last.failure.kind == "node_lost"
    assert last.failure.cause.startswith("no progress in 3 attempts in a row")
    assert len(tries(home, poison)) == 3
    assert len(outcomes(home.trial(good.identity))) == 1


def test_told_to_leave_a_trial_saves_and_its_attempt_is_preempted(
    home: Home, tmp_path: Path
) -> None:
    log = tmp_path / "steps"
    study = load(home, seeds=[0], base={"steps": 40, "step_s": 0.25, "log": str(log)})
    first, second = tickets(study)
    task = task_of(study, first, second)
    process = started(task)
    wait_until(lambda: computed(log), "the trial has begun")
    os.kill(process.pid, signal.SIGUSR2)
    process.join(60)
    assert process.exitcode == 0
    (attempt,) = tries(home, first)
    end = attempt.end()
    assert end is not None
    assert (end.state, end.failure) == ("preempted", None)
    assert end.told == "time limit"
    assert tries(home, second) == []
    assert end.checkpoint_step == len(computed(log))


@pytest.mark.slow
def test_a_cancelled_trial_is_passed_over(home: Home) -> None:
    study = load(home, seeds=[0])
    first, second = tickets(study)
    cancelling.ask(study.folder, first.identity)
    assert run_apart(task_of(study, first, second)) == 0
    assert tries(home, first) == []
    assert len(outcomes(home.trial(second.identity))) == 1


@pytest.mark.slow
def test_a_trial_that_another_process_works_on_is_left_to_it(home: Home) -> None:
    study = load(home, seeds=[0])
    first, second = tickets(study)
    held = claim_attempt(home.trial(first.identity), outcome_number=0, study="another")
    assert run_apart(task_of(study, first, second)) == 0
    assert [attempt.number for attempt in tries(home, first)] == [held.number]
    assert len(outcomes(home.trial(second.identity))) == 1
