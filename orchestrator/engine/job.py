"""An attempt as its ranks see it, and what can launch them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.attempts import AttemptCheckpoints, HeldAttempt
from orchestrator.engine.rank import RankPlace, run_rank
from orchestrator.engine.ticket import Ticket
from orchestrator.leaving import Ear
from orchestrator.records import Failure, Provenance
from telemetry.emitter import Push
from workloads.contract import Checkpoint, Checkpoints, Reporter, Result
from workloads.registry import load_workload


@dataclass(frozen=True)
class Job:
    """What every rank of an attempt is handed. All of them go on from the checkpoint `start`."""

    ticket: Ticket
    held: HeldAttempt
    start: Checkpoint | None
    push: Push | None


@dataclass(frozen=True)
class Ran:
    """What came of a rank that ran to its end, and what it was made with."""

    result: Result
    provenance: Provenance


class Launch(Protocol):
    """Runs a job's ranks to their end."""

    def __call__(self, job: Job, report: Reporter) -> Ran:
        """What rank 0 came to; its reports are passed on to `report`.

        Raises `RankFailed` or `RankLost` for the rank that failed first, and what `report` raises;
        the other ranks have been ended then.
        """


class RankFailed(Exception):
    """A rank raised. `trace` is its traceback."""

    def __init__(self, failure: Failure, trace: str) -> None:
        super().__init__(failure, trace)  # what it is copied and pickled by
        self.failure, self.trace = failure, trace

    def __str__(self) -> str:
        return self.failure.cause


class RankLost(Exception):
    """A rank's process died without a word, as a worker does that is killed."""


@dataclass(frozen=True)
class RankCheckpoints:
    """A trial's checkpoints as one of several ranks sees them.

    `start` was looked up once for all ranks, so that none goes on from another than the rest.
    """

    attempt: HeldAttempt
    start: Checkpoint | None
    rank: int
    ear: Ear = field(default_factory=Ear, repr=False, compare=False)

    def latest(self) -> Checkpoint | None:
        """The newest of this attempt; before there is one, the start."""
        own = sorted((self.attempt.folder / "checkpoint").glob("step-*"))
        if not own:
            return self.start
        return Checkpoint(own[-1], int(own[-1].name.removeprefix("step-")))

    def wanted(self) -> bool:
        return self.ear.heard(self.attempt) is not None

    @contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        if self.rank:
            raise RuntimeError("rank 0 alone saves checkpoints: ask context.rank before saving")
        with AttemptCheckpoints(self.attempt, ear=self.ear).saving(step) as folder:
            yield folder


def run_here(job: Job, report: Reporter) -> Ran:
    """Runs a job of one rank in this process."""
    if job.ticket.ranks != 1:
        raise ValueError(
            f"a ticket for {job.ticket.ranks} ranks needs a launch for several: "
            "orchestrator.engine.ranks.Ranks"
        )
    checkpoints = AttemptCheckpoints(
        job.held, afresh=job.ticket.afresh, same_code=job.ticket.same_code
    )
    return run_as(job, 0, checkpoints, report)


def run_as(job: Job, rank: int, checkpoints: Checkpoints, report: Reporter) -> Ran:
    """Runs a job as its rank `rank` in this process, whose environment names the other ranks."""
    ticket, held = job.ticket, job.held
    workload = load_workload(ticket.workload)
    result = run_rank(
        ticket,
        RankPlace(held.folder, held.number, rank, ticket.ranks),
        workload,
        workload.Config.model_validate(ticket.config),
        checkpoints=checkpoints,
        report=report,
        provenance=_made_here(ticket),
        push=job.push,
    )
    return Ran(result, _made_here(ticket))


def _made_here(ticket: Ticket) -> Provenance:
    """What only the process that runs the trial can tell; the device once torch is loaded."""
    device = "cpu"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return msgspec.structs.replace(
        ticket.provenance,
        device=device,
        python=platform.python_version(),
        cpu=platform.machine(),
        ranks=ticket.ranks,
    )
