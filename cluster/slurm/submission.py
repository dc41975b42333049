"""Submitting jobs: held, recorded, then released, so that nothing is ever half-submitted."""

from __future__ import annotations

import importlib
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cluster.contract import ClusterError
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.limits import ClusterLimits, chunks
from cluster.slurm.parameters import at_once, parameters, unseen_variables
from cluster.slurm.queue import in_queue_now, waiting_for
from cluster.slurm.records import JOBS, JobKind, JobRecord, JobRecords
from cluster.slurm.settings import SlurmSettings

if TYPE_CHECKING:
    from cluster.slurm.executor import HeldExecutor
    from cluster.sources import Sources


@dataclass(frozen=True)
class Submission:
    """What is to run, and what each job takes."""

    kind: JobKind
    """`array` submits `arguments` as job arrays; another kind, one job for each of them."""
    name: str
    """The study's instance; the jobs are called `orrery-<name>`."""
    function: Callable[..., Any]
    """At the top level of an importable module: it is pickled by name, so that a job takes it from
    `sources`."""
    arguments: Sequence[Any]
    """One argument of `function` for each job or task. Pickled: plain data, not our classes."""
    settings: SlurmSettings
    folder: Path
    """The study's folder, absolute. Jobs run in it."""
    cpus: int = 1
    """Of each rank, as are `gpus` and `memory_gib`."""
    gpus: int = 0
    memory_gib: float = 0.0
    """0 asks for what the cluster gives by default."""
    tasks_per_job: int = 1
    """Ranks that srun starts in each job or task, spread evenly over its nodes."""
    nodes: int = 1
    sources: Sources | None = None
    at_once: int | None = None
    """At most so many tasks run at once, over all arrays submitted here. Default: the settings'."""
    hold: bool = False
    """Leaves the jobs held."""
    address: str | None = None
    """Noted in the records: of what the jobs join."""
    note: str = ""
    after: str | None = None
    """Id of a job or array that has to have ended before any of these starts."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the jobs find set, beside those of `sources`."""

    def __post_init__(self) -> None:
        home = importlib.import_module(self.function.__module__)
        if getattr(home, self.function.__qualname__, None) is not self.function:
            raise ValueError(f"{self.function!r} cannot be imported by a job")
        if self.tasks_per_job % self.nodes:
            raise ClusterError(
                f"{self.tasks_per_job} ranks cannot lie evenly on {self.nodes} nodes: give a "
                "number of nodes that divides them."
            )


@dataclass(frozen=True)
class Preview:
    """What a submission would hand to sbatch."""

    scripts: list[str]
    """One for each call of sbatch, or the first of equal ones."""
    arrays: list[str]
    """Index ranges, e.g. `0-1000%50`; empty where no array is submitted."""


@dataclass(frozen=True)
class Strays:
    """Jobs of a study in the queue whose submission was not completed."""

    cancelled: tuple[str, ...]
    left: tuple[str, ...]
    """Unrecorded but not held, so that somebody released them: left alone."""


def job_name(instance: str, kind: JobKind = "array") -> str:
    """What the jobs of a study are called in the queue. Its head has a name of its own: it may be
    submitted while a driver, which cancels strays, begins."""
    if kind == "head":
        return f"orrery-head-{instance}"
    return instance if instance.startswith("orrery-") else f"orrery-{instance}"


def submit(slurm: Slurm, submission: Submission, records: JobRecords) -> list[JobRecord]:
    """Submits the first of the arguments, as many as the queue has room for: the sum of `tasks`
    tells how many, and those left over are for a later call.

    Raises `SlurmError` with SLURM's own words if a part of it is refused; what was accepted before,
    which is still held, is cancelled. So it is on an interrupt.
    """
    limits = slurm.settings_of_cluster()
    count = min(len(submission.arguments), _room(slurm, submission.settings, limits))
    submitted: list[JobRecord] = []
    folder = Path(JOBS, f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}")
    try:
        for part in _parts(submission, count, limits):
            _submit_part(slurm, submission, part, folder, records, submitted, limits.cluster)
        if submitted and not submission.hold:
            slurm.release(record.id for record in submitted)
    except BaseException as error:
        refused = isinstance(error, SlurmError) and not error.is_transient
        _take_back(slurm, submission, records, submitted, all_known=refused)
        if isinstance(error, SlurmError) and error.says_queue_full:
            raise SlurmError(
                f"{error}. If SLURM does not tell that limit, say it: slurm.max_submit, in the "
                "study file or a profile, is how many jobs and tasks you may have in the queue."
            ) from error
        if isinstance(error, OSError):
            raise ClusterError(f"Nothing was submitted: {error}") from error
        raise
    ready = time.time()
    complete = [msgspec.structs.replace(record, ready_at_s=ready) for record in submitted]
    for record in complete:
        records.add(record)
    return complete


def preview(submission: Submission, limits: ClusterLimits) -> Preview:
    """What `submit` would hand to sbatch, under those limits. Needs no SLURM."""
    count = len(submission.arguments)
    most = submission.settings.max_submit or limits.max_submit
    parts = list(_parts(submission, count if most is None else min(count, most), limits))
    if submission.kind != "array":
        parts = parts[:1]
    scripts = [
        _executor(submission, Path(JOBS, "<submission>"), after).script(_tasks(submission, part))
        for part, after in zip(parts, _afters(submission, parts), strict=True)
    ]
    arrays = [
        line.partition("=")[2]
        for script in scripts
        for line in script.splitlines()
        if line.startswith("#SBATCH --array=")
    ]
    return Preview(scripts, arrays)


def adopt_or_cancel_strays(
    slurm: Slurm, name: str, records: JobRecords, kind: JobKind = "array"
) -> Strays:
    """Cancels what a submission that was killed has left held in the queue, and notes its end.

    `name`: as in `Submission`. `kind`: "head" for the study's head, else all of its other jobs. To
    be called by the one driver of a study, or who submits or cancels its head, before it submits:
    what another one is just submitting looks the same. Jobs of a study of that name in another
    home are left out. Raises `SlurmError`.
    """
    found = list(waiting_for(slurm, job_name(name, kind)).values())
    if not found:
        return Strays((), ())
    cluster = slurm.cluster_name()
    complete = {
        record.id
        for record in records.all()
        if record.ready_at_s is not None and record.cluster in ("", cluster)
    }
    here = records.study_folder.resolve()
    found = [job for job in found if job.id not in complete and job.folder.resolve() == here]
    held = tuple(job.id for job in found if job.held)
    slurm.cancel(held)
    for id in held:
        records.end(id, "CANCELLED", cluster)
    return Strays(held, tuple(job.id for job in found if not job.held))


def _room(slurm: Slurm, settings: SlurmSettings, limits: ClusterLimits) -> int:
    """How many more jobs and tasks may be put into the queue now."""
    most = min((n for n in (settings.max_submit, limits.max_submit) if n is not None), default=None)
    if most is None:
        return 10**9
    return max(0, most - in_queue_now(slurm))


def _parts(submission: Submission, count: int, limits: ClusterLimits) -> list[range]:
    """Which arguments go into each call of sbatch."""
    if submission.kind == "array":
        return list(chunks(count, limits))
    return [range(index, index + 1) for index in range(count)]


def _afters(submission: Submission, parts: list[range]) -> list[str | None]:
    """What each part waits for, as far as that is known before there are ids."""
    follows = "<the one before>" if at_once(submission) else submission.after
    return [submission.after if index == 0 else follows for index in range(len(parts))]


def _tasks(submission: Submission, part: range) -> int | None:
    return len(part) if submission.kind == "array" else None


def _submit_part(
    slurm: Slurm,
    submission: Submission,
    part: range,
    folder: Path,
    records: JobRecords,
    submitted: list[JobRecord],
    cluster: str,
) -> None:
    # `%` limits one array: arrays under one limit follow each other
    before = submitted[-1].id if submitted and at_once(submission) else submission.after

    def record(id: str) -> None:
        new = JobRecord(
            id=id,
            kind=submission.kind,
            tasks=len(part),
            name=job_name(submission.name, submission.kind),
            submitted_at_s=time.time(),
            host=socket.gethostname(),
            cluster=cluster,
            address=submission.address,
            folder=str(folder),
            sources=submission.sources.digest if submission.sources else None,
            note=submission.note,
        )
        submitted.append(new)
        records.add(new)

    executor = _executor(submission, folder, before)
    executor.submit_held(
        slurm,
        submission.function,
        [submission.arguments[index] for index in part],
        array=submission.kind == "array",
        without=unseen_variables(executor.parameters),
        record=record,
    )


def _executor(submission: Submission, folder: Path, after: str | None) -> HeldExecutor:
    from cluster.slurm.executor import HeldExecutor

    executor = HeldExecutor(submission.folder / folder)
    executor.update_parameters(
        **parameters(submission, job_name(submission.name, submission.kind), after)
    )
    return executor


def _take_back(
    slurm: Slurm,
    submission: Submission,
    records: JobRecords,
    submitted: list[JobRecord],
    *,
    all_known: bool,
) -> None:
    """Cancels what was accepted, and, unless `all_known`, what an sbatch that was not heard out
    may have left."""
    try:
        slurm.cancel(record.id for record in submitted)
        for record in submitted:
            records.end(record.id, "CANCELLED", record.cluster)
        if not all_known:
            adopt_or_cancel_strays(slurm, submission.name, records, submission.kind)
    except (SlurmError, OSError):
        # the controller is away: the jobs are held, and the next driver cancels them
        return
