"""One attempt at a trial, from claim to outcome. Knows nothing of the executor that calls it."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.attempts import (
    AttemptCheckpoints,
    HeldAttempt,
    Superseded,
    attempts,
    claim_attempt,
    outcomes,
)
from orchestrator.checkpoint_digest import checkpoint_digest
from orchestrator.engine.failures import failure_of, one_line
from orchestrator.engine.job import Job, Launch, Ran, RankFailed, RankLost, run_here
from orchestrator.engine.reports import Reports
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.watching import watched
from orchestrator.errors import BusyError
from orchestrator.evaluation.subjects import checkpoint_of
from orchestrator.home import Home, write_whole
from orchestrator.identity import identity_config
from orchestrator.leaving import Ear, ToldToLeave, Word, cancelled, heeding, noticed
from orchestrator.ledger import record_identity
from orchestrator.records import Failure, Outcome, State, storable
from orchestrator.score_files import scores_digest, write_scores
from telemetry.emitter import Push
from workloads.contract import (
    Input,
    Reporter,
    TrialStopped,
    Workload,
    WorkloadConfig,
)
from workloads.errors import InputError
from workloads.registry import load_workload
from workloads.source_digest import workload_digest

logger = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """The attempt failed, and its end is recorded. The process that ran it is to be discarded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)  # what it is copied and pickled by
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.kind}: {self.failure.cause}"


class Pruned(TrialStopped):
    """The scheduler ended the trial for this study."""


def run_attempt(
    ticket: Ticket, report: Reporter, push: Push | None = None, launch: Launch = run_here
) -> State:
    """Claims the next attempt, runs it, publishes its outcome. Gives the state it ended in.

    `launch` runs the ranks: one in this process, or several elsewhere (`Ranks`). Raises `BusyError`
    if the trial is another's, `AttemptFailed` once a failure is recorded, and `RankLost`, with no
    end recorded: as with a worker that died, that is for whoever hands out the tickets.

    "preempted" if this process was told to leave (`orchestrator.engine.notice`), also before the
    claim; "cancelled" if the study or the trial was.
    """
    home = Home(Path(ticket.home))
    folder = home.trial(ticket.identity)
    try:
        workload = load_workload(ticket.workload)
    except Exception as error:
        raise _not_loaded(ticket, folder, error) from None
    number = _number_to_publish(ticket, workload, folder)
    if number is None:
        return "done"
    if noticed() is not None:
        return "preempted"
    held = claim_attempt(
        folder,
        outcome_number=number,
        study=ticket.study,
        token=ticket.token,
        code_digest=_loaded_digest(type(workload)),
    )
    word = cancelled(home.study(ticket.study), ticket.identity)
    if word is not None:
        return _left(held, word)
    try:
        held.artifacts.mkdir(exist_ok=True)
        record_identity(home, ticket.identity, ticket.document)
        with watched(held, ticket.time_limit_s):
            outcome = _run_held(ticket, held, workload, report, push, launch)
        _publish(held, outcome)  # beside no watch, which ends processes: it is done or it is not
        return "done"
    except Superseded as stop:
        raise BusyError(str(stop)) from stop
    except ToldToLeave as told:
        return _left(held, told.word)
    except TrialStopped:
        word = Ear().heard(held)
        if word is not None:  # its driver has ended it since it was told the same
            return _left(held, word)
        held.finish("pruned")
        return "pruned"
    except RankLost:
        word = Ear().heard(held)
        if word is None:
            raise
        return _left(held, word)
    except RankFailed as error:
        word = Ear().heard(held) if error.failure.kind == "unknown" else None
        if word is not None:  # the others of its ranks have left
            return _left(held, word)
        _record_failure(held, error.failure, error.trace)
        raise AttemptFailed(error.failure) from None
    except BaseException as error:
        failure = failure_of(error)
        _record_failure(held, failure, traceback.format_exc())
        raise AttemptFailed(failure) from None


def _not_loaded(ticket: Ticket, folder: Path, error: Exception) -> AttemptFailed:
    """Records that this process has no such workload: the driver had, so its path differs.

    Raises `BusyError` as a claim does.
    """
    cause = f"its worker could not do what its driver could: {one_line(error)}"
    failure = Failure("user_error", cause)
    held = claim_attempt(
        folder, outcome_number=ticket.outcome_number, study=ticket.study, token=ticket.token
    )
    _record_failure(held, failure, traceback.format_exc())
    return AttemptFailed(failure)


def _left(held: HeldAttempt, word: Word) -> State:
    held.finish(word.state, told=word.cause)
    return word.state


def _number_to_publish(ticket: Ticket, workload: Workload[Any], folder: Path) -> int | None:
    """The outcome number of an attempt; None if what the ticket asks for is there already."""
    known = outcomes(folder)
    if not known or known[-1].number < ticket.outcome_number:
        return ticket.outcome_number
    if workload.covers(known[-1].observed, ticket.observed):
        return None
    return known[-1].number + 1


@lru_cache(maxsize=8)
def _loaded_digest(workload: type[Workload[Any]]) -> str:
    """The digest of the sources as this process has loaded them, or within moments of it."""
    return workload_digest(workload)


def _refuse_changed_inputs(ticket: Ticket, workload: Workload[Any], config: WorkloadConfig) -> None:
    """The identity names inputs by content: that of the files has to be the planned one still."""
    cache = Home(Path(ticket.home)).fingerprints

    def fingerprint(source: Input, value: str) -> str:
        return workload.fingerprint(source.kind, value, config, cache)

    if identity_config(config, fingerprint) != ticket.document["config"]:
        raise InputError(
            "a model or data set has changed since this trial was planned; "
            "run the study again to plan with what is there now"
        )


def _run_held(
    ticket: Ticket,
    held: HeldAttempt,
    workload: Workload[Any],
    report: Reporter,
    push: Push | None,
    launch: Launch,
) -> Outcome:
    """What the attempt came to, which is still to be published."""
    started = time.time()
    config = workload.Config.model_validate(ticket.config)
    _refuse_changed_inputs(ticket, workload, config)
    checkpoints = AttemptCheckpoints(held, afresh=ticket.afresh, same_code=ticket.same_code)
    codes = checkpoints.codes()
    resumed = checkpoints.latest()
    before = resumed.path.parent.parent if resumed else None
    reports = Reports(heeding(report, held), workload.metrics, held.folder, before)
    ran = launch(Job(ticket, held, resumed, push), reports)
    _refuse_changed_inputs(ticket, workload, config)
    outcome = msgspec.structs.replace(
        _outcome(ticket, held, ran, started, resumed.step if resumed else None),
        provenance=msgspec.structs.replace(ran.provenance, code_digest="+".join(codes)),
        reported=reports.last,
        checkpoint_step=made.step if (made := checkpoints.latest()) is not None else None,
    )
    model = checkpoint_of(held.folder.parent, outcome)
    return msgspec.structs.replace(
        outcome,
        metrics=reports.best() | outcome.metrics,
        checkpoint_digest=checkpoint_digest(model) if model is not None else None,
    )


def _publish(held: HeldAttempt, outcome: Outcome) -> None:
    if not held.publish(outcome):
        logger.warning("%s was published by another attempt first", outcome.identity)
    _keep_only_last_checkpoint(held)


def _outcome(
    ticket: Ticket, held: HeldAttempt, ran: Ran, started: float, resumed_at: int | None
) -> Outcome:
    result = ran.result
    scores = write_scores(result.scores, held.folder / "scores.parquet")
    trial_folder = held.folder.parent
    return Outcome(
        identity=ticket.identity,
        number=held.held.outcome_number,
        attempt=held.number,
        study=ticket.study,
        provenance=ran.provenance,
        started_at_s=started,
        finished_at_s=time.time(),
        metrics={name: storable(value) for name, value in result.metrics.items()},
        observed=dict(ticket.observed),
        flags=sorted(result.flags),
        notes=list(result.notes),
        scores=None if scores is None else scores.relative_to(trial_folder).as_posix(),
        scores_digest=None if scores is None else scores_digest(scores.read_bytes()),
        artifacts=held.artifacts.relative_to(trial_folder).as_posix(),
        resumed_at_step=resumed_at,
    )


def _record_failure(held: HeldAttempt, failure: Failure, trace: str) -> None:
    try:
        write_whole(held.folder / "error.txt", trace.encode())
        held.finish("failed", failure)
    except OSError as error:  # the disk refuses: the process's end will tell
        logger.error("The failure of %s could not be recorded: %s", held.folder, error)


def _keep_only_last_checkpoint(held: HeldAttempt) -> None:
    """A finished trial keeps its last checkpoint: those of earlier attempts go."""
    if not any((held.folder / "checkpoint").glob("step-*")):
        return
    for attempt in attempts(held.folder.parent):
        if attempt.number < held.number:
            shutil.rmtree(attempt.folder / "checkpoint", ignore_errors=True)
