"""One trial of an array task: in this process or in one of its own, and what comes of a loss."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from cluster.slurm.environment import on_notice
from orchestrator.array.in_queue import made_for, used_up
from orchestrator.array.waves import Handed
from orchestrator.attempts import Attempt, outcomes
from orchestrator.engine import notice
from orchestrator.engine.failures import one_line, out_of_memory_kills
from orchestrator.engine.feed import TOLD_WITHOUT_PROGRESS
from orchestrator.engine.job import Launch, RankLost
from orchestrator.engine.output import run_captured
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.errors import BusyError
from orchestrator.home import Home
from orchestrator.ledger import read_trial, told_in_a_row
from orchestrator.records import Failure

logger = logging.getLogger(__name__)

STOPPED = "its job was stopped, or its node was lost"


def may_run(ticket: Ticket, lost_without_progress: int) -> bool:
    """Whether a task is to try this trial, now or once more.

    An attempt that this very ticket began and never ended was cut off with the task's earlier run,
    since a task runs once at a time: it is ended here. Too many such losses fail the trial.
    """
    home = Home(Path(ticket.home))
    mine = made_for(home, handed(ticket))
    if mine is None or any(o.attempt == mine.number for o in outcomes(mine.folder.parent)):
        return True
    end = mine.end()
    if end is not None and end.state != "preempted":
        return False
    if end is not None and not end.told:
        return True
    if end is not None:
        return not _left_in_vain(home, ticket.identity, mine)
    return record_loss(home, ticket.identity, mine, STOPPED, lost_without_progress)


def _left_in_vain(home: Home, identity: str, mine: Attempt) -> bool:
    """Whether a trial was told to leave so often without saving anything new that it is failed."""
    count = told_in_a_row(home, identity)
    if count < TOLD_WITHOUT_PROGRESS:
        return False
    cause = (
        f"told to leave {count} times in a row before it had saved anything new: save more often, "
        "or ask for a longer time limit"
    )
    mine.finish("failed", Failure("node_lost", cause), replace=True)
    return True


def is_open(ticket: Ticket) -> bool:
    """Whether its trial is still to be brought to an end, by this ticket."""
    home = Home(Path(ticket.home))
    known = outcomes(home.trial(ticket.identity))
    published = bool(known) and known[-1].number >= ticket.outcome_number
    return not published and not used_up(home, handed(ticket))


def was_lost(ticket: Ticket) -> bool:
    """Whether the last attempt at its trial died without a word, which the next may do too."""
    return read_trial(Home(Path(ticket.home)), ticket.identity).lost_in_a_row > 0


def record_loss(
    home: Home, identity: str, mine: Attempt, cause: str, lost_without_progress: int
) -> bool:
    """Ends an attempt that was lost. False if it was one too many without a newer checkpoint."""
    mine.lost(Failure("node_lost", cause))  # no loss, if it was told to leave
    lost = read_trial(home, identity).lost_in_a_row
    if lost < lost_without_progress:
        return not _left_in_vain(home, identity, mine)
    cause = f"no progress in {lost} attempts in a row; the last: {cause}"
    mine.finish("failed", Failure("node_lost", cause), replace=True)
    return False


def handed(ticket: Ticket) -> Handed:
    return Handed(ticket.identity, ticket.token, ticket.outcome_number)


def run_here_or_apart(ticket: Ticket, apart: bool, lost_without_progress: int) -> bool:
    """Runs a trial, `apart` in a fresh process. False if it failed: this process may be spoilt."""
    if not apart:
        return run_one(ticket)
    from workloads.spawning import in_fresh_process

    kills = out_of_memory_kills()
    try:
        return in_fresh_process(_run_apart, ticket)
    except BrokenProcessPool:
        _settle_death(ticket, out_of_memory_kills() > kills, lost_without_progress)
        return False


def run_one(ticket: Ticket, launch: Launch = run_captured) -> bool:
    """Runs a trial by this process. False if it failed; how it ended is in its attempt's files."""
    try:
        state = run_attempt(ticket, _unheard, None, launch)
    except BusyError as error:
        logger.warning("%s is left alone: %s", ticket.label, error)
        return True
    except AttemptFailed as error:
        logger.warning("%s failed: %s", ticket.label, error)
        return False
    except OSError as error:  # before it was claimed: the disk refuses
        logger.error("%s could not begin: %s", ticket.label, one_line(error))
        return False
    logger.info("%s: %s", ticket.label, state)
    return True


def settle_lost_rank(ticket: Ticket, error: RankLost, lost_without_progress: int) -> None:
    """Ends the attempt of a trial of which a rank died."""
    home = Home(Path(ticket.home))
    mine = made_for(home, handed(ticket))
    if mine is not None and mine.end() is None:
        record_loss(home, ticket.identity, mine, str(error), lost_without_progress)


def _run_apart(ticket: Ticket) -> bool:
    """In the fresh process, which SLURM's signals reach too."""
    on_notice(notice.give)
    return run_one(ticket)


def _settle_death(ticket: Ticket, out_of_memory: bool, lost_without_progress: int) -> None:
    """Ends the attempt of a process that died without a word."""
    home = Home(Path(ticket.home))
    mine = made_for(home, handed(ticket))
    if mine is None or mine.end() is not None:
        return
    if out_of_memory:
        cause = "the trial's process was killed for memory; ask for more: -s resources.memory_gib=…"
        mine.finish("failed", Failure("out_of_memory", cause))
        return
    record_loss(home, ticket.identity, mine, "the trial's process died", lost_without_progress)


def _unheard(step: int, metrics: Mapping[str, float | None]) -> None:
    """Nobody beside the task decides by what a trial reports: it is in the trial's files."""
