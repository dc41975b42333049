"""Hands tickets out, one when there is room for one, and decides what is tried again.

This is a study's retry policy, whoever runs its trials: what runs them retries nothing itself.
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from orchestrator.attempts import Attempt, attempts, claim_attempt
from orchestrator.engine.failures import failure_of_lost_worker, speaks_of_full_disk
from orchestrator.engine.ticket import Ticket
from orchestrator.errors import BusyError
from orchestrator.home import Home
from orchestrator.ledger import read_trial, told_in_a_row
from orchestrator.records import Failure, State
from orchestrator.study_file import Retries

logger = logging.getLogger(__name__)

BUSY_PAUSE_S = 5.0
LEAVING_PAUSE_S = 2.0
"""After a trial was told to leave: a process on the node that leaves might take it again."""
TOLD_WITHOUT_PROGRESS = 10
"""A trial that was told to leave so often in a row, without a newer checkpoint, is given up: it
takes longer to its first one than it is ever left in peace."""


class TicketSource(Protocol):
    """Where tickets come from: a list, or a search that waits for results."""

    def next(self) -> Ticket | None:
        """The next ticket; None while there is none."""

    def exhausted(self) -> bool:
        """Whether `next` will give no more, whatever comes of the tickets still out."""

    def left(self) -> int:
        """How many tickets `next` may still give."""

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None:
        """Told what a trial reports while it runs."""

    def ended(self, ticket: Ticket, state: State) -> None:
        """Told once per ticket, when no further attempt will be made."""


@dataclass
class ListedTickets:
    """The missing trials of a design whose arms are known beforehand."""

    waiting: deque[Ticket]

    @classmethod
    def of(cls, tickets: Iterable[Ticket]) -> ListedTickets:
        return cls(deque(tickets))

    def next(self) -> Ticket | None:
        return self.waiting.popleft() if self.waiting else None

    def exhausted(self) -> bool:
        return not self.waiting

    def left(self) -> int:
        return len(self.waiting)

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None:
        """A list does not care."""

    def ended(self, ticket: Ticket, state: State) -> None:
        """Nor how it ends."""


class Failed(NamedTuple):
    """A failed attempt, and whether the trial will be tried again."""

    ticket: Ticket
    failure: Failure
    again: bool


@dataclass
class Feed:
    """Which ticket goes out next, and what becomes of one whose attempt has ended."""

    home: Home
    source: TicketSource
    retries: Retries
    max_out: int
    out: dict[str, Ticket] = field(default_factory=dict)
    """What is out, by Tune's trial id."""
    again: deque[tuple[float, Ticket]] = field(default_factory=deque)
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    given_up: set[str] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    """Trials that one more loss would fail. One of them at most is out at a time: what takes its
    node down takes the trials beside it down too, and they must not fail for it."""
    stopped: bool = False
    full_disk: str = ""
    """What a trial said that found the disk full: every other one would find it so too."""

    @property
    def closed(self) -> bool:
        """Whether nothing more is handed out, whatever is left."""
        return self.stopped or bool(self.full_disk)

    def take(self, tune_id: str) -> Ticket | None:
        """A ticket for a Tune trial; None if there is none now."""
        if self.closed or len(self.out) >= self.max_out:
            return None
        ticket = self._due_again() or self._next_of_source()
        if ticket is None:
            return None
        ticket = self.out[tune_id] = msgspec.structs.replace(ticket, token=uuid.uuid4().hex)
        return ticket

    def stop(self) -> None:
        """Hands out nothing more: the study was cancelled."""
        self.stopped = True

    def left(self) -> int:
        """How many trials have not ended."""
        if self.closed:
            return len(self.out)
        return len(self.out) + len(self.again) + self.source.left()

    def finished(self) -> bool:
        """Whether nothing is out and nothing will come."""
        if self.out:
            return False
        return self.closed or (not self.again and self.source.exhausted())

    def succeeded(self, tune_id: str, state: State) -> Ticket | None:
        """An attempt ended by itself: done, pruned or cancelled."""
        ticket = self.out.pop(tune_id, None)
        if ticket is not None:
            self.source.ended(ticket, state)
        return ticket

    def busy(self, tune_id: str) -> None:
        """Another process holds the trial: looked at again after a pause."""
        ticket = self.out.pop(tune_id, None)
        if ticket is not None:
            self.again.append((time.monotonic() + BUSY_PAUSE_S, ticket))

    def told_to_leave(self, tune_id: str) -> Failed | None:
        """An attempt ended because its process was told to: no loss, and handed out again soon."""
        ticket = self.out.pop(tune_id, None)
        if ticket is None:
            return None
        mine = self._attempt_of(ticket)
        end = mine.end() if mine is not None else None
        told = f"told to leave: {end.told if end is not None else 'it had not begun'}"
        return self._resumed(ticket, mine, told)

    def cancelled(self, tune_id: str) -> Ticket | None:
        """The ticket of an attempt whose process was ended since it was cancelled; None if it died
        in another way."""
        ticket = self.out.get(tune_id)
        if ticket is None:
            return None
        mine = self._attempt_of(ticket)
        end = mine.end() if mine is not None else None
        if end is None and self.stopped:
            _finish(mine, "cancelled")
        elif end is None or end.state != "cancelled":
            return None
        return self.succeeded(tune_id, "cancelled")

    def refused(self, tune_id: str, failure: Failure) -> Failed | None:
        """An attempt could not even begin: the disk refused, say."""
        ticket = self.out.pop(tune_id, None)
        if ticket is None:
            return None
        self._notice_full_disk(failure, None)
        return self._settled(ticket, failure)

    def failed(self, tune_id: str, seen: str, memory_kill: bool) -> Failed | None:
        """An attempt failed: what it recorded of itself or, if its process died without a word,
        what `seen` tells; and whether it will be tried again."""
        ticket = self.out.pop(tune_id, None)
        if ticket is None:
            return None
        mine = self._attempt_of(ticket)
        end = mine.end() if mine is not None else None
        failure = end.failure if end is not None else None
        if failure is None:
            failure = failure_of_lost_worker(seen, memory_kill)
            told = (end.told if end is not None else "") or (mine.told() if mine else "")
            if told and failure.kind == "node_lost":
                _finish(mine, "preempted", told=told)
                return self._resumed(ticket, mine, f"told to leave: {told}")
            self._notice_full_disk(failure, mine)
            failure = self._record_loss(ticket, mine, failure)
        else:
            self._notice_full_disk(failure, mine)
        return self._settled(ticket, failure)

    def _notice_full_disk(self, failure: Failure, mine: Attempt | None) -> None:
        """Closes the feed where the disk that is full is this host's, or holds the home: a disk of
        another node says nothing of the others."""
        if self.full_disk or not speaks_of_full_disk(failure.cause):
            return
        claim = mine.claim() if mine is not None else None
        here = claim is None or claim.process.host == socket.gethostname()
        if here or str(self.home.root) in failure.cause:
            self.full_disk = failure.cause

    def _resumed(self, ticket: Ticket, mine: Attempt | None, cause: str) -> Failed:
        """Hands a trial out again that was told to leave, unless that never comes to anything."""
        self.tries.pop((ticket.identity, "uncounted"), None)  # it can be begun
        count = told_in_a_row(self.home, ticket.identity)
        if count < TOLD_WITHOUT_PROGRESS:
            self.again.append((time.monotonic() + LEAVING_PAUSE_S, ticket))
            return Failed(ticket, Failure("node_lost", cause), again=True)
        failure = Failure(
            "node_lost",
            f"{cause} ({count} times in a row before it had saved anything new: save more often, "
            "or ask for a longer time limit)",
        )
        _finish(mine, "failed", failure, replace=True)
        self.source.ended(ticket, "failed")
        return Failed(ticket, failure, again=False)

    def _attempt_of(self, ticket: Ticket) -> Attempt | None:
        """The attempt that this very ticket has claimed, if it came so far."""
        for attempt in reversed(attempts(self.home.trial(ticket.identity))):
            claim = attempt.claim()
            if claim is not None and claim.token == ticket.token:
                return attempt
        return None

    def _settled(self, ticket: Ticket, failure: Failure) -> Failed:
        again = self._may_retry(ticket, failure)
        if again:
            self.again.append((0.0, ticket))
        else:
            self.source.ended(ticket, "failed")
        return Failed(ticket, failure, again)

    def _record_loss(self, ticket: Ticket, mine: Attempt | None, failure: Failure) -> Failure:
        """Ends the attempt of a process that died; too many losses in a row fail the trial."""
        if failure.kind != "node_lost":
            _finish(mine, "failed", failure)
            return failure
        if _finish(mine, "preempted", failure):
            self.tries.pop((ticket.identity, "uncounted"), None)
            lost = read_trial(self.home, ticket.identity).lost_in_a_row
        else:  # no file counts this one
            self.tries[ticket.identity, "uncounted"] += 1
            lost = self.tries[ticket.identity, "uncounted"]
        self._suspect(ticket.identity, lost)
        if lost < self.retries.lost_without_progress:
            return failure
        cause = f"no progress in {lost} attempts in a row; the last: {failure.cause}"
        failure = Failure("node_lost", cause)
        _finish(mine or self._claimed(ticket), "failed", failure, replace=True)
        self.suspects.discard(ticket.identity)
        self.given_up.add(ticket.identity)
        return failure

    def _claimed(self, ticket: Ticket) -> Attempt | None:
        """An attempt of this process, to tell of a trial whose workers die before they claim one.
        None if that cannot be: another holds the trial, or the disk refuses."""
        try:
            return claim_attempt(
                self.home.trial(ticket.identity),
                outcome_number=ticket.outcome_number,
                study=ticket.study,
                token=ticket.token,
            )
        except (BusyError, OSError) as error:
            logger.error("The failure of %s cannot be written: %s", ticket.label, error)
            return None

    def _may_retry(self, ticket: Ticket, failure: Failure) -> bool:
        if failure.kind == "node_lost":
            return ticket.identity not in self.given_up
        limits = {
            "unknown": self.retries.unknown,
            "out_of_memory": self.retries.out_of_memory,
            "timed_out": self.retries.timed_out,
        }
        self.tries[ticket.identity, failure.kind] += 1
        return self.tries[ticket.identity, failure.kind] <= limits.get(failure.kind, 0)

    def _due_again(self) -> Ticket | None:
        for _ in range(len(self.again)):
            due, ticket = self.again.popleft()
            if due <= time.monotonic() and self._may_go(ticket):
                return ticket
            self.again.append((due, ticket))
        return None

    def _next_of_source(self) -> Ticket | None:
        """The source's next ticket; one that an earlier run has seen lost may have to wait."""
        while (ticket := self.source.next()) is not None:
            if (self.home.trial(ticket.identity) / "attempt-0000").is_dir():
                lost = read_trial(self.home, ticket.identity).lost_in_a_row
                self._suspect(ticket.identity, lost)
            if self._may_go(ticket):
                return ticket
            self.again.append((0.0, ticket))
        return None

    def _suspect(self, identity: str, lost: int) -> None:
        """Notes whether one more loss would fail a trial that was lost so often in a row."""
        if lost >= max(1, self.retries.lost_without_progress - 1):
            self.suspects.add(identity)
        else:
            self.suspects.discard(identity)

    def _may_go(self, ticket: Ticket) -> bool:
        """Whether it is no suspect, or no other suspect is out."""
        return ticket.identity not in self.suspects or not any(
            other.identity in self.suspects for other in self.out.values()
        )


def _finish(
    mine: Attempt | None,
    state: State,
    failure: Failure | None = None,
    *,
    told: str = "",
    replace: bool = False,
) -> bool:
    """Records how an attempt ended. False if there is none (its process died before it claimed
    one), or if the disk refuses: that must not end the driver, and the trial can be resumed."""
    if mine is None:
        return False
    try:
        mine.finish(state, failure, told=told, replace=replace)
    except OSError as error:
        logger.error("How '%s' ended cannot be written: %s", mine.folder, error)
        return False
    return True
