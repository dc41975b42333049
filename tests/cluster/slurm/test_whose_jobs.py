"""Ids of jobs are SLURM's: on another one, or once they start again, they are somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from cluster.slurm.commands import Slurm
from cluster.slurm.queue import look_for
from cluster.slurm.recorded import cancel_ours
from cluster.slurm.records import Job, JobRecords
from cluster.slurm.submission import Submission, adopt_or_cancel_strays, submit
from orchestrator.jobs_shown import jobs_of
from tests.cluster.stand_in.controller import SlurmStandIn

Make = Callable[..., Submission]


def test_a_record_names_its_cluster(
    slurm: Slurm, submission: Make, records: JobRecords, slurm_stand_in: SlurmStandIn
) -> None:
    [record] = submit(slurm, submission(["/nowhere"], hold=True), records)
    assert record.cluster == "stand-in"
    assert records.all() == [record]
    asked = slurm_stand_in.count("scontrol")
    assert look_for(slurm, record.jobs)[record.jobs[0]].state == "queued"
    assert slurm_stand_in.count("scontrol") == asked, "its name is known"


def test_a_job_of_another_cluster_is_neither_looked_up_nor_cancelled_here(
    slurm: Slurm, submission: Make, records: JobRecords, slurm_stand_in: SlurmStandIn, study: Path
) -> None:
    [record] = submit(slurm, submission(["/nowhere"] * 2, hold=True), records)
    theirs = msgspec.structs.replace(record, cluster="alpha")
    (records.folder / f"{record.id}.json").write_bytes(msgspec.json.encode(theirs))
    slurm_stand_in.calls.clear()
    (shown,) = jobs_of(study)
    assert dict(shown.states) == {"unknown": 2}
    assert "of cluster 'alpha'" in shown.text
    told = cancel_ours(slurm, records, [theirs])
    assert told.cancelled == []
    assert told.foreign == [(theirs, "of cluster 'alpha'")]
    assert slurm_stand_in.calls == []
    assert all(not job.ended for job in slurm_stand_in.jobs.values())


def test_a_number_that_another_job_has_by_now_is_not_cancelled(
    slurm: Slurm, submission: Make, records: JobRecords, slurm_stand_in: SlurmStandIn
) -> None:
    [record] = submit(slurm, submission(["/nowhere"] * 2, hold=True), records)
    slurm_stand_in.jobs.clear()
    slurm_stand_in._next = 1
    words = ["--hold", "--job-name=games", "--output=/dev/null", "--wrap=:"]
    slurm_stand_in.command("sbatch", *words)
    views = look_for(slurm, record.jobs)
    assert {view.state for view in views.values()} == {"unknown"}
    assert all(view.foreign for view in views.values())
    told = cancel_ours(slurm, records, [record])
    assert [why for _, why in told.foreign] == ["its number has another job, 'games'"]
    assert not slurm_stand_in.jobs["1"].ended
    slurm_stand_in.jobs["1"].state = "COMPLETED"
    slurm_stand_in.forget_ended()
    assert {view.state for view in look_for(slurm, record.jobs).values()} == {"ended"}


def test_two_clusters_jobs_of_one_number_are_two_records(
    slurm: Slurm, submission: Make, records: JobRecords
) -> None:
    [record] = submit(slurm, submission(["/nowhere"], hold=True), records)
    records.add(msgspec.structs.replace(record, cluster="alpha"))
    assert {found.cluster for found in records.all()} == {"stand-in", "alpha"}
    records.end(record.id, "CANCELLED", "alpha")
    assert records.open() == [record]


def test_a_cluster_that_does_not_tell_its_name_leaves_its_jobs_unknown(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.failing["scontrol"] = "scontrol: error: Unable to contact slurm controller"
    job = Job("1", cluster="alpha")
    view = look_for(slurm, [job])[job]
    assert (view.state, view.foreign, view.unanswered) == ("unknown", False, True)


def test_a_head_that_is_being_submitted_is_no_stray_of_the_driver(
    slurm: Slurm, submission: Make, records: JobRecords, slurm_stand_in: SlurmStandIn, study: Path
) -> None:
    [head] = submit(slurm, submission(["/nowhere"], kind="head", hold=True), records)
    (records.folder / f"{head.id}.json").unlink()
    assert adopt_or_cancel_strays(slurm, study.name, records).cancelled == ()
    assert not slurm_stand_in.jobs[head.id].ended
    assert adopt_or_cancel_strays(slurm, study.name, records, "head").cancelled == (head.id,)
    assert slurm_stand_in.jobs[head.id].ended
