"""One attempt at a trial, from claim to outcome. Knows nothing of the executor that calls it."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.attempts import (
    Attempt,
    AttemptCheckpoints,
    HeldAttempt,
    Superseded,
    attempts,
    claim_attempt,
    outcomes,
)
from orchestrator.engine.failures import failure_of
from orchestrator.engine.ticket import Ticket
from orchestrator.home import Home, write_whole
from orchestrator.ledger import record_identity
from orchestrator.records import Failure, Outcome, Provenance, State, storable
from orchestrator.score_files import write_scores
from telemetry import Emitter
from telemetry.emitter import Push
from workloads.contract import Reporter, Result, TrialContext, TrialStopped
from workloads.registry import load_workload

logger = logging.getLogger(__name__)

HEARTBEAT_PERIOD_S = 10.0


class AttemptFailed(Exception):
    """The attempt failed, and its end is recorded. The process that ran it is to be discarded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.cause}")
        self.failure = failure


class Pruned(TrialStopped):
    """The scheduler ended the trial for this study."""


def run_attempt(ticket: Ticket, report: Reporter, push: Push | None = None) -> State:
    """Claims the next attempt, runs it, publishes its outcome. Gives the state it ended in.

    Raises `BusyError` if the trial is another's, `AttemptFailed` once a failure is recorded.
    """
    home = Home(Path(ticket.home))
    folder = home.trial(ticket.identity)
    if any(outcome.number >= ticket.outcome_number for outcome in outcomes(folder)):
        return "done"
    record_identity(home, ticket.identity, ticket.document)
    held = claim_attempt(folder, outcome_number=ticket.outcome_number, study=ticket.study)
    held.artifacts.mkdir(exist_ok=True)
    try:
        with _watched(held, ticket.time_limit_s):
            _run_held(ticket, held, report, push)
        return "done"
    except Superseded:
        return "preempted"
    except Pruned:
        held.finish("pruned")
        return "pruned"
    except (TrialStopped, KeyboardInterrupt, SystemExit):
        held.finish("preempted", Failure("node_lost", "stopped while it ran"))
        return "preempted"
    except BaseException as error:
        failure = failure_of(error)
        _record_failure(held, failure)
        raise AttemptFailed(failure) from None


def _run_held(ticket: Ticket, held: HeldAttempt, report: Reporter, push: Push | None) -> None:
    started = time.time()
    workload = load_workload(ticket.workload)
    config = workload.Config.model_validate(ticket.config)
    checkpoints = AttemptCheckpoints(held, afresh=ticket.afresh)
    resumed = checkpoints.latest()
    emitter = Emitter(
        held.folder / "spool" / "rank-0000.jsonl",
        trial=ticket.identity,
        attempt=held.number,
        reducers={name: metric.reducer for name, metric in workload.metrics.items()},
        push=push,
    )
    last = _LastReport(report)
    try:
        emitter.context(_facts(ticket))
        context = TrialContext(
            identity=ticket.identity,
            label=ticket.label,
            seed=ticket.seed,
            attempt=held.number,
            artifacts=held.artifacts,
            emitter=emitter,
            checkpoints=checkpoints,
            report=last,
        )
        result = workload.run(config, context)
        emitter.flush()
        outcome = _outcome(ticket, held, result, started, resumed.step if resumed else None)
        held.publish(msgspec.structs.replace(outcome, reported=last.values))
    finally:
        emitter.close()
    _keep_only_last_checkpoint(held)


class _LastReport:
    """Passes reports on, and remembers the last one for the outcome."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.values: dict[str, float | str | None] = {}

    def __call__(self, step: int, metrics: Mapping[str, float | None]) -> None:
        self.values = {name: storable(value) for name, value in metrics.items()}
        self._report(step, metrics)


def _outcome(
    ticket: Ticket, held: HeldAttempt, result: Result, started: float, resumed_at: int | None
) -> Outcome:
    scores = write_scores(result.scores, held.folder / "scores.parquet")
    trial_folder = held.folder.parent
    return Outcome(
        identity=ticket.identity,
        number=held.held.outcome_number,
        attempt=held.number,
        study=ticket.study,
        provenance=_here(ticket.provenance),
        started_at_s=started,
        finished_at_s=time.time(),
        metrics={name: storable(value) for name, value in result.metrics.items()},
        observed=dict(ticket.observed),
        flags=sorted(result.flags),
        notes=list(result.notes),
        scores=None if scores is None else scores.relative_to(trial_folder).as_posix(),
        artifacts=held.artifacts.relative_to(trial_folder).as_posix(),
        resumed_at_step=resumed_at,
    )


def _facts(ticket: Ticket) -> dict[str, Any]:
    return {
        "study": ticket.study,
        "arm": ticket.arm,
        "replicate": ticket.replicate,
        "seed": ticket.seed,
        "workload": ticket.workload,
        "config": ticket.config,
        "provenance": msgspec.to_builtins(_here(ticket.provenance)),
    }


def _here(provenance: Provenance) -> Provenance:
    """What only the process that ran the trial can tell."""
    device = "cpu"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return msgspec.structs.replace(
        provenance, device=device, python=platform.python_version(), cpu=platform.machine()
    )


def _record_failure(held: HeldAttempt, failure: Failure) -> None:
    try:
        write_whole(held.folder / "error.txt", traceback.format_exc().encode())
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


@contextmanager
def _watched(held: HeldAttempt, time_limit_s: float | None) -> Iterator[None]:
    """Beats for other hosts while the block runs; past the time limit the process is ended."""
    done = threading.Event()

    def watch() -> None:
        deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                _end_process(held, f"ran longer than its limit of {time_limit_s:g} s")
            pause = HEARTBEAT_PERIOD_S if left is None else min(HEARTBEAT_PERIOD_S, left)
            if done.wait(pause):
                return
            held.beat()

    thread = threading.Thread(target=watch, name="orrery-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _end_process(attempt: Attempt, cause: str) -> None:
    """A computation cannot be interrupted from another thread: its process is ended."""
    attempt.finish("failed", Failure("timed_out", cause))
    os._exit(1)
