"""`--on slurm --detach`: a job that drives the study and outlives its own time limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.slurm.records import JobRecords
from cluster.slurm.settings import SlurmSettings
from orchestrator import Study
from orchestrator.head_job import head_settings
from orchestrator.home import Home
from orchestrator.log_files import driver_log
from tests.cluster.stand_in.controller import SlurmStandIn
from tests.orchestrator.quick_study import (
    arm,
    computed,
    configurations,
    orrery,
    quick_study,
    wait_until,
    write_study,
)


def in_queue(stand_in: SlurmStandIn) -> list[str]:
    return [id for id, job in stand_in.jobs.items() if not job.ended]


def test_a_head_asks_for_nothing_that_only_trials_need() -> None:
    settings = SlurmSettings(
        partition="gpus",
        gres="gpu:2",
        mem="400G",
        requeue=False,
        extra={"exclusive": True, "reservation": "friday"},
    )
    head = head_settings(settings)
    assert (head.partition, head.gres, head.mem) == ("gpus", None, None)
    assert head.extra == {"reservation": "friday"}
    assert head.requeue


@pytest.mark.slow
def test_a_head_that_is_told_to_leave_goes_back_into_the_queue_and_on(
    tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    log = tmp_path / "steps"
    file = write_study(
        tmp_path,
        quick_study(
            seeds=[0],
            design=configurations(arm("plain", "baseline")),
            base={"steps": 30, "step_s": 0.5, "log": str(log)},
            slurm={"pilots": 1, "head_address": "127.0.0.1"},
        ),
    )
    slurm_stand_in.nodes = {"s1": 4}
    words = ("run", file, "--on", "slurm", "--detach", "--json")
    begun = orrery(*words, cwd=tmp_path)
    assert begun.returncode == 0, begun.stderr
    (head,) = json.loads(begun.stdout)["jobs"]
    assert head["kind"] == "head"

    study = Study.load(file, home=mlflow_home.root)
    wait_until(lambda: len(computed(log)) > 2, "the trial is under way")
    again = orrery(*words, cwd=tmp_path)
    assert [job["id"] for job in json.loads(again.stdout)["jobs"]] == [head["id"]]

    slurm_stand_in.command("scancel", "--signal=USR2", head["id"])
    wait_until(lambda: slurm_stand_in.jobs[head["id"]].ended, "the head ends")
    said = driver_log(study.folder).read_text()
    assert said.count(f"job {head['id']}") == 2, said
    assert dict(study.plan().counts) == {"done": 1}, said
    steps = [step.step for step in computed(log)]
    assert len(steps) <= 31
    assert set(steps) == set(range(1, 31))
    assert not in_queue(slurm_stand_in)
    assert {record.kind for record in JobRecords(study.folder).all()} == {"head", "pilot"}
