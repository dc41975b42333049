"""`orrery cancel`: asks by a file, waits until driver and attempts have ended, and takes jobs out
of their queues."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator import cancelling
from orchestrator.attempts import Attempt, outcomes
from orchestrator.attempts import attempts as attempts_at
from orchestrator.cancelling import GRACE_S
from orchestrator.driving import driver_at, seat_text
from orchestrator.errors import DamagedFileError, UsageError
from orchestrator.home import Home
from orchestrator.ledger import Ledger, TrialRecord, read_trial
from orchestrator.plan_file import read_plan
from orchestrator.search_list import SearchList

if TYPE_CHECKING:
    from cluster.slurm.records import JobRecord, JobRecords

LIMIT_S = 60.0
SIGNAL_AFTER_S = GRACE_S + 20.0
"""A driver on this host that has not obeyed by then gets SIGTERM."""
LOOK_EVERY_S = 0.25
TOLD = "orrery cancel"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Cancellation:
    """What was found, what was done, and what had not ended when the command gave up waiting."""

    study: str
    trial: str | None = None
    found: Sequence[str] = ()
    did: Sequence[str] = ()
    left: Sequence[str] = ()

    @property
    def ended(self) -> bool:
        return not self.left

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ended": self.ended}


def cancel_study(home: Home, instance: str, tell: Tell, limit_s: float = LIMIT_S) -> Cancellation:
    """Cancels a study instance. What has not run stays to be run: the next `orrery run` goes on.

    `tell` is told what is waited for, again and again.
    """
    folder = home.study(instance)
    records = Ledger(home).records(trials_of(home, instance))
    seat = driver_at(folder)
    alive = _alive(home, records, instance)
    jobs = _Jobs.of(home, instance)
    if seat is None and not alive and not jobs.open:
        strays: list[str] = []
        jobs.cancel_strays(strays)
        return Cancellation(
            instance, did=tuple(strays), found=[_at_rest(records, folder_asked(home, instance))]
        )
    found = [f"{seat_text(seat)} drives it"] if seat else []
    found += [f"{_count(len(alive), 'attempt')} {'runs' if len(alive) == 1 else 'run'}"]
    found += [f"jobs in the queue: {', '.join(j.id for j in jobs.open)}"] if jobs.open else []
    before = cancelling.request(folder)
    cancelling.ask(folder)
    did = ["it was cancelled already" if before else "told all of it to save and end"]
    # once more: an attempt that has begun meanwhile is to save too before its job is taken away
    alive = _alive(home, Ledger(home).records(trials_of(home, instance)), instance)
    left = _Ending(seat, alive, tell, did).wait(limit_s)
    jobs.cancel(did, left)
    _settle(alive, did)
    return Cancellation(instance, found=found, did=did, left=left)


def cancel_trial(home: Home, identity: str, tell: Tell, limit_s: float = LIMIT_S) -> Cancellation:
    """Cancels one trial for the study that runs it; if none does, for those that wait for it.

    Raises `UsageError` if no study of the home wants it.
    """
    wanted_by = studies_of(home, identity)
    record = read_trial(home, identity)
    alive = [a for a in [_last(home)(record)] if a is not None]
    claim = alive[0].claim() if alive else None
    if claim is not None:
        instances = [claim.study]
    else:
        driven = [name for name in wanted_by if driver_at(home.study(name)) is not None]
        instances = driven or wanted_by
    if record.outcome is not None and not alive:
        about = ", ".join(instances)
        return Cancellation(about, identity, found=["it is done: nothing to cancel"])
    if not instances:
        raise UsageError(f"No study in '{home.root}' wants trial {identity}.")
    folders = [home.study(instance) for instance in instances]
    known = all(identity in cancelling.cancelled_trials(folder) for folder in folders)
    for folder in folders:
        cancelling.ask(folder, identity)
    did = ["it was cancelled already"] if known else [f"cancelled it for {', '.join(instances)}"]
    others = [name for name in wanted_by if name not in instances]
    if others:
        did.append(f"{', '.join(others)} may still run it")
    left = _Ending(None, alive, tell, did).wait(limit_s)
    _settle(alive, did)
    found = ["it runs" if alive else f"it does not run ({record.state})"]
    return Cancellation(", ".join(instances), identity, found, did, left)


def trials_of(home: Home, instance: str) -> list[str]:
    """Identities of a study's trials: as planned, and what its search has proposed since."""
    folder = home.study(instance)
    found: dict[str, None] = {}
    with suppress(DamagedFileError):
        found.update(dict.fromkeys(trial.id for trial in read_plan(folder).trials))
    proposed = (proposal.identity for proposal in SearchList(folder).proposals())
    found.update(dict.fromkeys(identity for identity in proposed if identity))
    return list(found)


def studies_of(home: Home, identity: str) -> list[str]:
    """The study instances that have planned a trial."""
    try:
        names = sorted(path.name for path in home.studies.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    return [name for name in names if identity in trials_of(home, name)]


def folder_asked(home: Home, instance: str) -> bool:
    """Whether the study is cancelled already."""
    return cancelling.request(home.study(instance)) is not None


@dataclass
class _Ending:
    """Waits for a driver and attempts that were told to end."""

    seat: Attempt | None
    alive: Sequence[Attempt]
    tell: Tell
    did: list[str]
    signalled: bool = False

    def wait(self, limit_s: float) -> list[str]:
        """What has not ended within the limit."""
        began_s = time.monotonic()
        while True:
            seat = self.seat if self.seat is not None and self.seat.life() != "dead" else None
            alive = [attempt for attempt in self.alive if attempt.life() != "dead"]
            if seat is None and not alive:
                return []
            waited_s = time.monotonic() - began_s
            left = [seat_text(seat)] if seat is not None else []
            left += [
                f"{a.folder.parent.name[:8]} attempt {a.number}: {seat_text(a)}" for a in alive
            ]
            if waited_s > limit_s:
                return left
            if seat is not None and waited_s > SIGNAL_AFTER_S and not self.signalled:
                self._signal(seat)
            driver = "its driver and " if seat is not None else ""
            self.tell(f"waiting for {driver}{_count(len(alive), 'attempt')} ({waited_s:.0f} s)")
            time.sleep(LOOK_EVERY_S)

    def _signal(self, seat: Attempt) -> None:
        """A driver of this host that does not look at the file is told as a shell would."""
        self.signalled = True
        claim = seat.claim()
        if claim is not None and claim.process.alive_here():
            with suppress(OSError):
                os.kill(claim.process.pid, signal.SIGTERM)
                self.did.append(f"sent SIGTERM to process {claim.process.pid}")


@dataclass
class _Jobs:
    """The open jobs of a study."""

    home: Home
    instance: str
    open: list[JobRecord] = field(default_factory=list)

    @classmethod
    def of(cls, home: Home, instance: str) -> _Jobs:
        from cluster.slurm.records import JobRecords
        from orchestrator.jobs_shown import jobs_of

        folder = home.study(instance)
        there = {job.id for job in jobs_of(folder)}  # notes those whose end the queue tells
        return cls(home, instance, [r for r in JobRecords(folder).open() if r.id in there])

    def cancel_strays(self, did: list[str]) -> None:
        """Takes out what a submission that was killed has left held and no record tells of."""
        from cluster.contract import ClusterError
        from cluster.slurm.records import JobRecords

        with suppress(ClusterError):  # where nothing is known to be there, nothing is missed
            self._cancel_slurm(JobRecords(self.home.study(self.instance)), [], did, [])

    def cancel(self, did: list[str], left: list[str]) -> None:
        """Takes them out of their queues: SLURM's by one command."""
        from cluster.contract import ClusterError
        from cluster.slurm.records import JobRecords

        records = JobRecords(self.home.study(self.instance))
        found = {record.id for record in self.open}
        # a driver may have submitted more before it obeyed; once the study runs again, they stay
        more = folder_asked(self.home, self.instance)
        jobs = [j for j in records.open() if j.kind != "process" and (more or j.id in found)]
        try:
            self._cancel_slurm(records, [job for job in jobs if job.kind != "ray-job"], did, left)
            for job in jobs:
                if job.kind == "ray-job":
                    from cluster.ray_jobs import RayJobs

                    RayJobs(job.address or "").stop(job.id)
                    did.append(f"stopped Ray job {job.id}")
                    records.end(job.id, "cancelled")
        except ClusterError as error:
            left.append(f"jobs {', '.join(job.id for job in jobs)}: {error}")

    def _cancel_slurm(
        self, records: JobRecords, jobs: Sequence[JobRecord], did: list[str], left: list[str]
    ) -> None:
        """Also what submissions that were killed have left held. Raises `ClusterError`."""
        from cluster.slurm.commands import Slurm
        from cluster.slurm.recorded import cancel_ours
        from cluster.slurm.submission import adopt_or_cancel_strays

        if not jobs and not (records.folder.is_dir() and shutil.which("squeue")):
            return
        slurm = Slurm.find()
        told = cancel_ours(slurm, records, jobs)
        ids = [job.id for job in told.cancelled]
        for kind in ("array", "head"):
            strays = adopt_or_cancel_strays(slurm, self.instance, records, kind)
            ids += [id for id in strays.cancelled if id not in ids]
        did += [f"scancel {' '.join(ids)}"] if ids else []
        left += [f"job {job.id}: {why}, so it is not cancelled here" for job, why in told.foreign]


def _settle(alive: Sequence[Attempt], did: list[str]) -> None:
    """Records the end of attempts whose processes are gone without having done it themselves."""
    ends = 0
    for attempt in alive:
        if attempt.life() != "dead":
            continue
        if not any(o.attempt == attempt.number for o in outcomes(attempt.folder.parent)):
            attempt.finish("cancelled", told=TOLD)
            end = attempt.end()
            ends += end is not None and end.state == "cancelled"
    if ends:
        did.append(f"{_count(ends, 'attempt')} ended as cancelled")


def _last(home: Home) -> Callable[[TrialRecord], Attempt | None]:
    def last(record: TrialRecord) -> Attempt | None:
        """The attempt that runs; None if none does."""
        if record.state != "running":
            return None
        return attempts_at(home.trial(record.identity))[-1]

    return last


def _alive(home: Home, records: dict[str, TrialRecord], instance: str) -> list[Attempt]:
    """The attempts that run for a study."""
    return [a for a in map(_last(home), records.values()) if a and _is_of(a, instance)]


def _is_of(attempt: Attempt, instance: str) -> bool:
    claim = attempt.claim()
    return claim is not None and claim.study == instance


def _at_rest(records: dict[str, TrialRecord], asked: bool) -> str:
    done = sum(record.state == "done" for record in records.values())
    if records and done == len(records):
        return f"it has ended: all {done} trials are done"
    state = "it is cancelled already, and" if asked else ""
    return f"{state} nothing of it runs; {done} of {len(records)} trials are done".strip()


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
