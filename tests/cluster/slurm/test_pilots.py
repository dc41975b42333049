"""`orrery run --on slurm` with real heads and pilots on this host, under a stand-in for SLURM."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.slurm.pilot_node import NOTICE_VARIABLE
from cluster.slurm.records import JobRecords
from orchestrator import Study
from orchestrator.attempts import attempts
from orchestrator.engine import notice
from orchestrator.home import Home
from tests.cluster.stand_in.controller import SlurmStandIn
from tests.orchestrator.quick_study import (
    arm,
    computed,
    configurations,
    driver,
    orrery,
    quick_study,
    wait_until,
    write_study,
)

ON_SLURM = ("--on", "slurm")
LOOPBACK = {"head_address": "127.0.0.1"}


def written(tmp_path: Path, home: Home, slurm: Mapping[str, Any] = {}, **parts: Any) -> Path:
    log = tmp_path / "steps"
    base = {"steps": 3, "log": str(log), **parts.pop("base", {})}
    settings = {**LOOPBACK, "pilots": 2, **slurm}
    return write_study(tmp_path, quick_study(base=base, slurm=settings, **parts))


def states(file: Path, home: Home) -> dict[str, int]:
    return dict(Study.load(file, home=home.root).plan().counts)


def in_queue(stand_in: SlurmStandIn) -> list[str]:
    return [id for id, job in stand_in.jobs.items() if not job.ended]


def test_the_notice_is_looked_for_where_pilots_write_it() -> None:
    assert notice.FILE_VARIABLE == NOTICE_VARIABLE


def test_a_partition_that_does_not_exist_is_refused_and_nothing_submitted(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    file = written(tmp_path, mlflow_home, {"partition": "mian"})
    done = orrery("run", file, *ON_SLURM, cwd=tmp_path)
    assert done.returncode == 2
    assert "'mian' does not exist. Did you mean 'main'?" in " ".join(done.stderr.split())
    assert not slurm_stand_in.jobs


@pytest.mark.slow
def test_a_study_runs_on_pilots_and_none_stays(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    file = written(tmp_path, mlflow_home)
    done = orrery("run", file, *ON_SLURM, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert states(file, mlflow_home) == {"done": 4}
    assert "joined on" in done.stderr
    assert not in_queue(slurm_stand_in)
    records = JobRecords(Study.load(file, home=mlflow_home.root).folder)
    assert {record.kind for record in records.all()} == {"pilot"}
    assert not records.open()


@pytest.mark.slow
def test_a_pilot_that_is_told_to_leave_loses_no_step_and_is_replaced(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    file = written(
        tmp_path,
        mlflow_home,
        {"pilots": 1},
        seeds=[0],
        design=configurations(arm("plain", "baseline")),
        base={"steps": 20, "step_s": 0.5},
    )
    log = tmp_path / "steps"
    with driver("run", file, *ON_SLURM, cwd=tmp_path) as run:
        run.wait_until(lambda: len(computed(log)) > 2, "the trial is under way")
        first = in_queue(slurm_stand_in)
        slurm_stand_in.preempt(first[0])
        assert run.end() == 0, run.err
    steps = [step.step for step in computed(log)]
    assert steps == list(range(1, 21))
    assert states(file, mlflow_home) == {"done": 1}
    (trial,) = mlflow_home.identities()
    made = attempts(mlflow_home.trial(trial))
    assert len(made) > 1
    end = made[0].end()
    assert end is not None
    assert end.state == "preempted"
    assert not in_queue(slurm_stand_in)


@pytest.mark.slow
def test_pilots_that_cannot_begin_end_the_study_with_what_they_said(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    file = written(
        tmp_path, mlflow_home, {"pilots": 1, "setup": ["echo no module named cuda/99", "exit 1"]}
    )
    done = orrery("run", file, *ON_SLURM, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    said = " ".join(done.stderr.split())
    assert "3 pilots in a row ended without having joined" in said
    assert "no module named cuda/99" in said
    assert len(slurm_stand_in.jobs) == 3
    assert not in_queue(slurm_stand_in)


@pytest.mark.slow
def test_pilots_of_a_killed_driver_leave_and_the_next_run_goes_on(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    file = written(tmp_path, mlflow_home, base={"steps": 6, "step_s": 0.5})
    log = tmp_path / "steps"
    with driver("run", file, *ON_SLURM, cwd=tmp_path) as run:
        run.wait_until(lambda: len(computed(log)) > 2, "trials are under way")
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
    wait_until(lambda: not in_queue(slurm_stand_in), "pilots leave by themselves")
    done = orrery("run", file, *ON_SLURM, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"done": 4}
    assert not in_queue(slurm_stand_in)


@pytest.mark.slow
def test_an_interrupt_leaves_no_pilot_and_everything_resumable(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.nodes = {"s1": 0}
    file = written(tmp_path, mlflow_home)
    with driver("run", file, *ON_SLURM, cwd=tmp_path) as run:
        run.wait_until(lambda: "wait" in run.err and in_queue(slurm_stand_in), "pilots wait")
        run.interrupt()
        assert run.end() == 130
    assert not in_queue(slurm_stand_in)
    assert states(file, mlflow_home) == {"planned": 4}
