"""`--on slurm-array` on a real SLURM: tasks that run trials without talking to each other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.lab.lab import Lab
from tests.lab.proving import Case, counted_commands, queue_empties, same_as_local, went_well
from tests.lab.studies import many_trials, steps_arm, steps_study
from tests.orchestrator.quick_study import wait_until

pytestmark = pytest.mark.lab

Cases = Callable[..., Case]
MANY = 2_000
REALLY_RUN = 40


def test_an_array_gives_the_numbers_of_this_machine(lab: Lab, cases: Cases, local: Cases) -> None:
    study = steps_study("by-array", steps=3, step_s=0.2, slurm={"trials_per_task": 2})
    case = cases(study)
    case.run("slurm-array")
    queue_empties(case)
    went_well(case)
    assert {line.node for line in case.lines()} <= set(lab.nodes)
    assert all(line.job for line in case.lines())
    same_as_local(case, local(study))


def test_two_ranks_of_a_task_on_two_nodes_make_one_trial(cases: Cases) -> None:
    only = steps_arm("only", "comparator")
    slurm = {"nodes_per_task": 2}
    study = steps_study("ranks-apart", only, seeds=1, resources={"ranks": 2}, slurm=slurm)
    case = cases(study)
    case.run("slurm-array")
    queue_empties(case)
    assert case.study().plan().counts == {"done": 1}
    places = {(line.rank, line.node) for line in case.lines()}
    assert {rank for rank, _ in places} == {0, 1}
    assert len({node for _, node in places}) == 2


def test_two_thousand_trials_are_submitted_counted_and_cancelled(cases: Cases) -> None:
    """Held by a start in an hour, as a cluster that is full would."""
    study = many_trials("many", MANY, slurm={"extra": {"begin": "now+1hour"}})
    plain = cases(study)
    counted = counted_commands(plain.folder / "commands", plain.variables)
    path = f"{counted.folder}:{plain.variables.get('PATH', os.environ['PATH'])}"
    case = replace(plain, variables={**plain.variables, "PATH": path})

    begun = case.orrery("run", "--on", "slurm-array", "--detach")
    assert begun.returncode == 0, begun.stderr
    wait_until(lambda: len(case.jobs()) == MANY, f"{MANY} tasks are in the queue", 120, 1.0)
    assert 1 <= len(counted.calls("sbatch")) <= 3

    counted.forget()
    status = case.orrery("status", "--json")
    assert status.returncode == 0, status.stderr
    told = json.loads(status.stdout)
    assert len(told["trials"]) == MANY
    assert sum(told["counts"].values()) == MANY
    assert len(counted.calls("squeue")) == 1, "status asks for all jobs at once"

    cancelled = case.orrery("cancel")
    assert cancelled.returncode == 0, cancelled.stderr
    queue_empties(case, 120)
    assert not case.lines()
    assert not {"failed", "running"} & set(case.study().plan().counts)


def test_forty_tasks_really_run(cases: Cases) -> None:
    case = cases(many_trials("forty", REALLY_RUN))
    case.run("slurm-array")
    queue_empties(case)
    went_well(case)
    assert len(case.lines()) == REALLY_RUN


def test_an_array_task_that_is_preempted_goes_on_from_its_checkpoint(
    lab: Lab, cases: Cases
) -> None:
    only = steps_arm("only", "comparator")
    study = steps_study("preempted-task", only, seeds=2, steps=20, step_s=1.0, checkpoint_every=5)
    case = cases(study)
    begun = case.orrery("run", "--on", "slurm-array", "--detach")
    assert begun.returncode == 0, begun.stderr
    wait_until(lambda: any(line.step == 6 for line in case.lines()), "tasks are under way", 120)
    node = case.lines()[-1].node
    case.ask(
        "sbatch", "-p", "urgent", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap=sleep 5"
    )
    wait_until(lambda: len(case.finished()) == 2, "all is done", 240, 0.5)
    queue_empties(case)
    case.run("slurm-array")  # folds what is there, and finds nothing to run
    assert any(len(made) > 1 for made in case.attempts().values()), "nothing was preempted"
    went_well(case)
