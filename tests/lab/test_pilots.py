"""`--on slurm` on a real SLURM: pilots give this machine's numbers, and obey other shells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.proving import Case, queue_empties, same_as_local, went_well
from tests.lab.studies import FRESH_STEPS, PLUGINS, steps_arm, steps_study
from tests.orchestrator.quick_study import command, environment, wait_until

pytestmark = pytest.mark.lab

Cases = Callable[..., Case]
ON_EACH_NODE = {"extra": {"exclusive": True}}
"""A pilot takes a whole node."""


def test_pilots_give_the_numbers_of_this_machine(lab: Lab, cases: Cases, local: Cases) -> None:
    study = steps_study("by-pilots", steps=3, step_s=0.3, slurm={"pilots": 2, **ON_EACH_NODE})
    case = cases(study)
    case.run("slurm")
    queue_empties(case)
    went_well(case)
    assert {line.node for line in case.lines()} <= set(lab.nodes)
    assert all(line.job for line in case.lines())
    same_as_local(case, local(study))


def test_two_ranks_on_two_nodes_make_one_trial(lab: Lab, cases: Cases) -> None:
    study = steps_study(
        "ranks-apart",
        steps_arm("only", "comparator"),
        seeds=1,
        steps=3,
        step_s=0.3,
        resources={"ranks": 2},
        slurm={"pilots": 2, "ranks_per_pilot": 1, **ON_EACH_NODE},
    )
    case = cases(study)
    case.run("slurm")
    queue_empties(case)
    assert case.study().plan().counts == {"done": 1}
    places = {(line.rank, line.node) for line in case.lines()}
    assert {rank for rank, _ in places} == {0, 1}
    assert len({node for _, node in places}) == 2


def test_a_study_goes_on_without_its_shell_and_is_seen_and_cancelled_from_others(
    cases: Cases,
) -> None:
    study = steps_study(
        "left-alone", seeds=2, steps=600, step_s=1.0, slurm={"pilots": 2, **ON_EACH_NODE}
    )
    case = cases(study)
    begun = case.orrery("run", "--on", "slurm", "--detach")  # its process ends, as a shell does
    assert begun.returncode == 0, begun.stderr
    line = wait_until(lambda: next(iter(case.lines()), None), "a trial runs", 120)

    status = case.orrery("status", "--json")
    assert status.returncode == 0, status.stderr
    states = {trial["id"]: trial["state"] for trial in json.loads(status.stdout)["trials"]}
    assert states[line.identity] == "running"

    follow = command("logs", line.identity, "-f", "--home", case.home.root)
    said = case.folder / "followed.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            follow, stdout=out, stderr=out, cwd=case.folder, env=environment(**case.variables)
        )
    try:
        seen = re.compile(r"step (\d+) of 600")
        wait_until(lambda: len(set(seen.findall(said.read_text()))) > 3, "the log is followed")
        cancelled = case.orrery("cancel")
        assert cancelled.returncode == 0, cancelled.stderr
        queue_empties(case, 90)
        process.wait(60)  # what it follows has ended
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    computed = len(case.lines())
    after = case.orrery("status", "--json")
    counts = json.loads(after.stdout)["counts"]
    assert sum(counts.values()) == 4
    assert not {"running", "failed", "done"} & set(counts)
    assert len(case.lines()) == computed


def edited(plugins: Path) -> None:
    """The walk starts a thousand further on: a number that no unedited run gives."""
    source = plugins / "lab_steps" / "workload.py"
    text = source.read_text()
    assert text.count("start, x = 0, 0.0") == 1
    source.write_text(text.replace("start, x = 0, 0.0", "start, x = 0, 1000.0"))


@pytest.mark.parametrize("on", ["slurm", "slurm-array"])
def test_an_edit_after_submitting_changes_nothing(
    on: str, lab: Lab, cases: Cases, local: Cases
) -> None:
    plugins = lab.shared / f"plugins-{on}"
    shutil.copytree(PLUGINS, plugins, ignore=shutil.ignore_patterns("__pycache__"))
    only = steps_arm("only", "comparator")
    parts: dict[str, Any] = {"seeds": 2, "workload": FRESH_STEPS, "steps": 3}
    study = steps_study("edited", only, **parts, step_s=1.0, slurm={"pilots": 1, "at_once": 1})
    case = cases(study, plugins=plugins)
    words = command(*case.words("run", "--on", on))
    with (case.folder / "run.txt").open("w") as out:
        running = subprocess.Popen(
            words, stdout=out, stderr=out, cwd=case.folder, env=environment(**case.variables)
        )
        try:
            wait_until(case.lines, "the first trial runs", 120)
            edited(plugins)
            assert running.wait(240) == 0, (case.folder / "run.txt").read_text()
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()
    assert case.numbers() == local(study).numbers()
    assert len(case.numbers()) == 2


@pytest.mark.parametrize("on", ["slurm", "slurm-array"])
def test_a_partition_that_does_not_exist_is_told_in_slurms_words(on: str, cases: Cases) -> None:
    case = cases(steps_study("lost-partition"))
    done = case.orrery("run", "--on", on, "-s", "slurm.partition=nowhere")
    refused(case, done, "nowhere")


@pytest.mark.parametrize("on", ["slurm", "slurm-array"])
def test_a_home_that_nodes_do_not_see_is_refused(on: str, lab: Lab, cases: Cases) -> None:
    case = cases(steps_study("unseen-home", slurm={"pilots": 1}))
    for node in lab.nodes:
        lab.hide(node, case.folder)
    done = case.orrery("run", "--on", on)
    refused(case, done, str(case.home.root))
    assert "shared" in done.stderr


def refused(case: Case, done: subprocess.CompletedProcess[str], naming: str) -> None:
    """One clear line, exit 2, and nothing left in the queue."""
    assert done.returncode == 2, f"{done.stdout}\n{done.stderr}"
    assert naming in done.stderr
    assert "Traceback" not in done.stderr
    queue_empties(case)
    assert not case.outcomes()
