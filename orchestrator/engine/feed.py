"""Feeds Tune with tickets, one when there is room for one, and decides what is tried again.

To Tune this is a searcher; to the study it is the retry policy. Tune itself retries nothing.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec
from ray.tune.search import Searcher

from orchestrator.attempts import Attempt, attempts
from orchestrator.engine.failures import failure_of_lost_worker
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.trainable import TICKET
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.records import Failure, State
from orchestrator.study_file import Retries

logger = logging.getLogger(__name__)

BUSY_PAUSE_S = 5.0


class TicketSource(Protocol):
    """Where tickets come from: a list, or a search that waits for results."""

    def next(self) -> Ticket | None:
        """The next ticket; None while there is none."""

    def exhausted(self) -> bool:
        """Whether `next` will give no more, whatever comes of the tickets still out."""

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

    def take(self, tune_id: str) -> Ticket | None:
        """A ticket for a Tune trial; None if there is none now."""
        if len(self.out) >= self.max_out:
            return None
        ticket = self._due_again() or self.source.next()
        if ticket is None:
            return None
        ticket = self.out[tune_id] = msgspec.structs.replace(ticket, token=uuid.uuid4().hex)
        return ticket

    def finished(self) -> bool:
        """Whether nothing is out and nothing will come."""
        return not self.out and not self.again and self.source.exhausted()

    def succeeded(self, tune_id: str, state: State) -> Ticket | None:
        """An attempt ended by itself: done or pruned."""
        ticket = self.out.pop(tune_id, None)
        if ticket is not None:
            self.source.ended(ticket, state)
        return ticket

    def busy(self, tune_id: str) -> None:
        """Another process holds the trial: looked at again after a pause."""
        ticket = self.out.pop(tune_id, None)
        if ticket is not None:
            self.again.append((time.monotonic() + BUSY_PAUSE_S, ticket))

    def refused(self, tune_id: str, failure: Failure) -> Failed | None:
        """An attempt could not even begin: the disk refused, say."""
        ticket = self.out.pop(tune_id, None)
        return None if ticket is None else self._settled(ticket, failure)

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
            failure = self._record_loss(ticket, mine, failure)
        return self._settled(ticket, failure)

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
            lost = read_trial(self.home, ticket.identity).lost_in_a_row
        else:  # no file counts this one
            self.tries[ticket.identity, "uncounted"] += 1
            lost = self.tries[ticket.identity, "uncounted"]
        if lost < self.retries.lost_without_progress:
            return failure
        cause = f"no progress in {lost} attempts in a row; the last: {failure.cause}"
        failure = Failure("node_lost", cause)
        _finish(mine, "failed", failure, replace=True)
        self.given_up.add(ticket.identity)
        return failure

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
            if due <= time.monotonic():
                return ticket
            self.again.append((due, ticket))
        return None


def _finish(mine: Attempt | None, state: State, failure: Failure, *, replace: bool = False) -> bool:
    """Records how an attempt ended. False if there is none (its process died before it claimed
    one), or if the disk refuses: that must not end the driver, and the trial can be resumed."""
    if mine is None:
        return False
    try:
        mine.finish(state, failure, replace=replace)
    except OSError as error:
        logger.error("How '%s' ended cannot be written: %s", mine.folder, error)
        return False
    return True


class TuneFeed(Searcher):  # type: ignore[misc]
    """The feed in the shape Tune asks for."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def __getstate__(self) -> dict[str, object]:
        """Tune pickles its searcher for a resumption of its own, which is never made."""
        return {}

    def suggest(self, trial_id: str) -> object:
        ticket = self._feed.take(trial_id)
        if ticket is not None:
            return {TICKET: msgspec.json.encode(ticket)}
        return Searcher.FINISHED if self._feed.finished() else None

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        """The callbacks tell the feed; Tune's own word comes without the cause."""
