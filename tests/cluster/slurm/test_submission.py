"""Submitting: held, recorded, released, all or nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.contract import ClusterError
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.limits import ClusterLimits
from cluster.slurm.queue import look
from cluster.slurm.records import JobRecord, JobRecords
from cluster.slurm.settings import SlurmSettings
from cluster.slurm.submission import (
    Submission,
    adopt_or_cancel_strays,
    preview,
    submit,
)
from tests.cluster.slurm.noted import fail, note, wait_for_notice
from tests.cluster.stand_in.controller import SlurmStandIn

Make = Callable[..., Submission]


def test_each_task_of_an_array_runs_its_argument_in_the_studys_folder(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    study: Path,
    tmp_path: Path,
) -> None:
    wanted = [str(tmp_path / name) for name in ("a", "b", "c")]
    settings = SlurmSettings(setup=["export GIVEN=by-the-user"])
    [record] = submit(slurm, submission(wanted, cpus=2, settings=settings), records)
    slurm_stand_in.wait()
    told = [json.loads(Path(f"{name}-0.json").read_text()) for name in wanted]
    assert [job["job"] for job in told] == record.job_ids
    assert {job["folder"] for job in told} == {str(study)}
    assert {job["threads"] for job in told} == {"2"}
    assert {job["safe_path"] for job in told} == {"1"}
    assert {job["given"] for job in told} == {"by-the-user"}
    assert all(1 <= job["cpus"] <= 2 for job in told)
    assert "Job completed successfully" in (study / record.log(index=1)).read_text()


def test_an_array_of_one_task_is_an_array(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    tmp_path: Path,
) -> None:
    [record] = submit(slurm, submission([str(tmp_path / "a")]), records)
    slurm_stand_in.wait()
    told = json.loads((tmp_path / "a-0.json").read_text())
    assert record.job_ids == [told["job"]] == [f"{record.id}_0"]


def test_srun_starts_the_ranks_of_a_job(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    study: Path,
    tmp_path: Path,
) -> None:
    [record] = submit(slurm, submission([str(tmp_path / "a")], "head", tasks_per_job=2), records)
    slurm_stand_in.wait()
    told = [json.loads((tmp_path / f"a-{rank}.json").read_text()) for rank in range(2)]
    assert [(job["rank"], job["ranks"], job["job"]) for job in told] == [
        (0, 2, record.id),
        (1, 2, record.id),
    ]
    assert (study / record.log(rank=1)).exists()


def test_jobs_that_are_no_array_are_one_each(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    tmp_path: Path,
) -> None:
    made = submit(slurm, submission([str(tmp_path / "a"), str(tmp_path / "b")], "pilot"), records)
    slurm_stand_in.wait()
    assert [record.tasks for record in made] == [1, 1]
    assert (tmp_path / "a-0.json").exists()
    assert (tmp_path / "b-0.json").exists()


def test_a_job_is_recorded_before_it_may_start(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    seen: list[object] = []

    class Watched(Slurm):
        def release(self, ids: object) -> None:
            seen.extend(record.id for record in records.all())
            assert all(job.held for job in slurm_stand_in.jobs.values())
            super().release(ids)  # type: ignore[arg-type]

    made = submit(Watched(), submission(["/nowhere/a"], "pilot"), records)
    assert seen == [record.id for record in made]
    assert all(record.ready_at_s is not None for record in records.all())


def test_2000_tasks_take_at_most_three_calls_of_sbatch_and_are_held_counted_and_cancelled(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    made = submit(slurm, submission(["/nowhere"] * 2000, hold=True), records)
    assert slurm_stand_in.count("sbatch") <= 3
    assert [record.tasks for record in made] == [1001, 999]
    slurm_stand_in.calls.clear()
    views = look(slurm, [id for record in made for id in record.job_ids])
    assert len(slurm_stand_in.calls) == 1
    assert {(view.state, view.why) for view in views.values()} == {("queued", "JobHeldUser")}
    assert len(views) == 2000
    slurm.cancel(record.id for record in made)
    assert all(job.state == "CANCELLED" for job in slurm_stand_in.jobs.values())


def test_a_limit_of_tasks_at_once_holds_over_several_arrays(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    slurm_stand_in.max_array_size = 2
    wanted = submission(["/nowhere"] * 3, hold=True, settings=SlurmSettings(at_once=1))
    first, second = submit(slurm, wanted, records)
    scripts = [slurm_stand_in.jobs[f"{r.id}_0"].script for r in (first, second)]
    assert [script.option("array") for script in scripts] == ["0-1%1", "0-0%1"]
    assert [script.option("dependency") for script in scripts] == ["", f"afterany:{first.id}"]


def test_a_full_queue_takes_as_many_as_fit_and_the_others_later(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    slurm_stand_in.max_submit = 5
    made = submit(slurm, submission(["/nowhere"] * 8, hold=True), records)
    assert sum(record.tasks for record in made) == 5
    assert submit(slurm, submission(["/nowhere"] * 3, hold=True), records) == []
    slurm.cancel(record.id for record in made)
    later = submit(slurm, submission(["/nowhere"] * 3, hold=True), records)
    assert sum(record.tasks for record in later) == 3


def test_a_part_that_is_refused_takes_back_the_parts_before_it(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    slurm_stand_in.max_array_size = 2
    slurm_stand_in.max_submit, slurm_stand_in.tells_max_submit = 3, False
    with pytest.raises(SlurmError, match="job submit limit") as raised:
        submit(slurm, submission([str(n) for n in range(4)]), records)
    assert "sbatch: error" not in str(raised.value)
    assert {job.state for job in slurm_stand_in.jobs.values()} == {"CANCELLED"}
    assert records.open() == []
    assert not any(call[:2] == ["scontrol", "release"] for call in slurm_stand_in.calls)


def test_an_sbatch_whose_answer_is_lost_leaves_nothing(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    slurm_stand_in.losing.add("sbatch")
    with pytest.raises(SlurmError, match="Socket timed out"):
        submit(slurm, submission(["/nowhere"]), records)
    assert [job.state for job in slurm_stand_in.jobs.values()] == ["CANCELLED"]


def test_a_release_that_fails_takes_the_jobs_back(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    slurm_stand_in.failing["scontrol"] = "slurm_suspend error: Access/permission denied"
    slurm_stand_in.failing_after["scontrol"] = 1
    with pytest.raises(SlurmError, match="permission denied"):
        submit(slurm, submission(["/nowhere"], "pilot"), records)
    assert [job.state for job in slurm_stand_in.jobs.values()] == ["CANCELLED"]
    assert records.open() == []


def test_a_disk_that_refuses_takes_the_jobs_back(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, study: Path
) -> None:
    class Full(JobRecords):
        def add(self, record: JobRecord) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(ClusterError, match=r"Nothing was submitted: .*No space left"):
        submit(slurm, submission(["/nowhere"]), Full(study))
    assert [job.state for job in slurm_stand_in.jobs.values()] == ["CANCELLED"]


def test_a_partition_that_is_refused_leaves_nothing(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    with pytest.raises(SlurmError, match="invalid partition specified: nosuch"):
        submit(slurm, submission(["a"], settings=SlurmSettings(partition="nosuch")), records)
    assert slurm_stand_in.jobs == {}
    assert records.all() == []


def test_what_a_killed_submission_left_held_is_cancelled(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    study: Path,
) -> None:
    kept = submit(slurm, submission(["/nowhere"], hold=True), records)
    killed = f"""
import os, sys
from pathlib import Path
from cluster.slurm.commands import Slurm
from cluster.slurm.records import JobRecords
from cluster.slurm.settings import SlurmSettings
from cluster.slurm.submission import Submission, submit
from tests.cluster.slurm.noted import note
class Killed(JobRecords):
    def add(self, record):
        if sys.argv[1] == "after": super().add(record)
        os.kill(os.getpid(), 9)
folder = Path({str(study)!r})
submit(Slurm.find(), Submission("array", folder.name, note, ["a"], SlurmSettings(), folder),
       Killed(folder))
"""
    root = str(Path(__file__).parents[3])
    for when in ("before", "after"):
        subprocess.run(
            [sys.executable, "-c", killed, when],
            env={**os.environ, "PYTHONPATH": root},
            check=False,
        )
    assert sum(job.held for job in slurm_stand_in.jobs.values()) == 3
    strays = adopt_or_cancel_strays(slurm, study.name, records)
    assert len(strays.cancelled) == 2
    assert [id for id, job in slurm_stand_in.jobs.items() if job.held] == kept[0].job_ids
    assert records.open() == kept


def test_jobs_of_the_same_study_in_another_home_are_no_strays(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    study: Path,
    tmp_path: Path,
) -> None:
    submit(slurm, submission(["/nowhere"], hold=True), records)
    other = JobRecords(tmp_path / "elsewhere" / study.name)
    assert adopt_or_cancel_strays(slurm, study.name, other).cancelled == ()
    assert all(job.held for job in slurm_stand_in.jobs.values())


def test_the_snapshot_is_what_a_job_imports(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    tmp_path: Path,
) -> None:
    from cluster.sources import Sources

    copy = tmp_path / "copy"
    (copy / "cluster").mkdir(parents=True)
    (copy / "cluster" / "__init__.py").write_text("raise RuntimeError('of the snapshot')")
    wanted = submission([str(tmp_path / "a")], sources=Sources("1234", copy), environment={})
    [record] = submit(slurm, wanted, records)
    slurm_stand_in.wait()
    assert record.sources == "1234"
    assert slurm_stand_in.jobs[record.job_ids[0]].state == "FAILED"
    assert "of the snapshot" in (records.study_folder / record.log()).read_text()


def test_a_function_that_a_job_cannot_import_is_refused(submission: Make) -> None:
    with pytest.raises(ValueError, match="cannot be imported"):
        submission(["a"], function=lambda where: None)


def test_a_shells_own_defaults_do_not_go_before_the_settings(
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "short")
    stated = submission(["/nowhere"], hold=True, settings=SlurmSettings(partition="main"))
    [record] = submit(Slurm.find(), stated, records)
    assert slurm_stand_in.jobs[f"{record.id}_0"].script.option("partition") == "main"
    [record] = submit(Slurm.find(), submission(["/nowhere"], hold=True), records)
    assert slurm_stand_in.jobs[f"{record.id}_0"].script.option("partition") == "short"


def test_a_job_that_submits_hands_nothing_of_itself_on(
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    [record] = submit(Slurm.find(), submission(["/nowhere"], hold=True), records)
    given = slurm_stand_in.jobs[f"{record.id}_0"].script.environment
    assert "SLURM_CPUS_PER_TASK" not in given
    assert given["SLURM_CONF"] == "/etc/slurm.conf"


def test_extra_options_are_said_and_ours_are_not_theirs_to_set(submission: Make) -> None:
    extra = SlurmSettings(extra={"reservation": "friday", "exclusive": True, "nice": False})
    [script] = preview(submission(["a"], settings=extra), ClusterLimits()).scripts
    assert "#SBATCH --reservation=friday\n" in script
    assert "#SBATCH --exclusive\n" in script
    assert "nice" not in script
    with pytest.raises(ClusterError, match=r"slurm.extra.job-name: not to be set"):
        preview(submission(["a"], settings=SlurmSettings(extra={"job_name": "x"})), ClusterLimits())
    with pytest.raises(ClusterError, match=r"write slurm.partition"):
        preview(submission(["a"], settings=SlurmSettings(extra={"partition": 1})), ClusterLimits())


def test_a_preview_is_what_is_submitted(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    settings = SlurmSettings(
        partition="main", account="lab", qos="high", constraint="a100", exclude="n[3-5]", at_once=4
    )
    wanted = submission(
        ["a"] * 1500,
        settings=settings,
        hold=True,
        function=note,
        cpus=3,
        gpus=1,
        memory_gib=1.5,
        tasks_per_job=2,
    )
    shown = preview(wanted, slurm.settings_of_cluster())
    assert shown.arrays == ["0-1000%4", "0-498%4"]
    for line in (
        "--partition=main",
        "--account=lab",
        "--qos=high",
        "--constraint=a100",
        "--exclude='n[3-5]'",
        "--gres=gpu:2",
        "--mem=3072M",
        "--cpus-per-task=3",
        "--ntasks-per-node=2",
        "--requeue",
        "--signal=USR2@90",
        "--job-name=orrery-sweep-1a2b",
    ):
        assert f"#SBATCH {line}\n" in shown.scripts[0]
    made = submit(slurm, wanted, records)
    folder = made[0].folder
    sent = slurm_stand_in.jobs[f"{made[0].id}_0"].script.text
    assert sent.replace(folder, "jobs/<submission>") == _plain(shown.scripts[0])


def _plain(script: str) -> str:
    return re.sub(r"'([^']*<submission>[^']*)'", r"\1", script)


@pytest.mark.parametrize(("time", "notice_s"), [("01:00:00", 90), ("5", 60), ("1", 12)])
def test_a_short_job_is_told_late_enough_to_work(
    submission: Make, time: str, notice_s: int
) -> None:
    shown = preview(submission(["a"], settings=SlurmSettings(time=time)), ClusterLimits())
    assert f"--signal=USR2@{notice_s}\n" in shown.scripts[0]


@pytest.mark.slow
def test_the_notice_of_a_short_job_reaches_its_function_and_is_no_timeout(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    tmp_path: Path,
) -> None:
    slurm_stand_in.seconds_per_second = 0.05  # a minute's limit ends after 3 s
    where = tmp_path / "told"
    wanted = submission(
        [str(where)], "pilot", function=wait_for_notice, settings=SlurmSettings(time="1")
    )
    [record] = submit(slurm, wanted, records)
    slurm_stand_in.wait()
    assert where.read_text() == "time limit\n"
    assert slurm_stand_in.jobs[record.id].state == "COMPLETED"


def test_a_preempted_job_is_told_and_runs_again(
    slurm: Slurm,
    slurm_stand_in: SlurmStandIn,
    submission: Make,
    records: JobRecords,
    tmp_path: Path,
) -> None:
    where = tmp_path / "told"
    [record] = submit(slurm, submission([str(where)], "pilot", function=wait_for_notice), records)
    ready = Path(f"{where}.ready")
    for _ in range(2):
        _until(ready.exists)
        ready.unlink()
        slurm_stand_in.preempt(record.id)
        _until(lambda: slurm_stand_in.jobs[record.id].state == "PENDING" or ready.exists())
    _until(lambda: where.read_text() == "preempted\npreempted\n")
    assert slurm_stand_in.jobs[record.id].restarts >= 1


def test_a_function_that_raises_is_a_failed_job_with_its_traceback_in_the_log(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    [record] = submit(slurm, submission(["what it raised"], function=fail), records)
    slurm_stand_in.wait()
    assert look(slurm, record.job_ids)[record.job_ids[0]].ended_as == "failed"
    assert "what it raised" in (records.study_folder / record.log()).read_text()


def _until(holds: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ranks_that_do_not_divide_over_their_nodes_are_refused(submission: Make) -> None:
    with pytest.raises(ClusterError, match="3 ranks cannot lie evenly on 2 nodes"):
        submission(["a"], tasks_per_job=3, nodes=2)
