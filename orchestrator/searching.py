"""A search as arms: its proposals, and the winner that is run again on the study's seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.arms import Arm
from orchestrator.engine.ticket import Ticket
from orchestrator.errors import UsageError
from orchestrator.records import State
from orchestrator.search_list import Learned, Proposal, Searcher, SearchList, searcher_for
from orchestrator.study_file import Search
from orchestrator.trials import Trial

if TYPE_CHECKING:
    from orchestrator.study import Study

WINNER = "winner"


def proposal_arm(design: Search, ordinal: int, point: dict[str, Any]) -> Arm:
    """The arm of an ordinal: explored on one seed of its own, never labelled by the verdict."""
    return Arm(f"proposal-{ordinal:04d}", "proposal", point, (design.explore_seed,))


def search_arms(study: Study, design: Search) -> list[Arm]:
    """Proposals so far; once all have ended, the best of them as the arm `winner`."""
    record = SearchList(study.folder)
    proposals = record.proposals()
    arms = [proposal_arm(design, p.ordinal, p.point) for p in proposals if p.identity]
    if len(proposals) < design.budget:
        return arms
    known = study.ledger.records(p.identity for p in proposals if p.identity)
    pruned = record.pruned()
    values: dict[int, float] = {}
    for proposal in proposals:
        if proposal.identity is None or proposal.ordinal in pruned:
            continue
        found = known[proposal.identity]
        if found.outcome is None:
            if found.state != "failed":
                return arms
            continue
        value = found.outcome.search_value(design.metric)
        if value is not None and value == value:
            values[proposal.ordinal] = value
    if values:
        sign = 1 if design.mode == "max" else -1
        best = max(values, key=lambda ordinal: (sign * values[ordinal], -ordinal))
        point = next(p.point for p in proposals if p.ordinal == best)
        about = f"proposal {best}, best {design.metric} of {len(values)} on the dev split"
        arms.append(Arm(WINNER, "arm", point, None, about))
    return arms


@dataclass
class SearchTickets:
    """Tickets of a search: replays what was proposed, then proposes until the budget is used.

    A proposal is written to the list before its ticket goes out. One whose trial is known already
    is told to the searcher and costs nothing.
    """

    study: Study
    design: Search
    ticket_of: Callable[[Trial, int], Ticket]
    limit: int | None = None
    """At most so many tickets in this run; the search goes on in the next."""
    handed: set[str] = field(default_factory=set)
    """Identities of the tickets that went out."""
    _searcher: Searcher | None = None
    _unfinished: deque[tuple[int, Trial]] = field(default_factory=deque)
    _next_ordinal: int = 0
    _reports: dict[int, tuple[int, float | None]] = field(default_factory=dict)

    def next(self) -> Ticket | None:
        if self._at_limit():
            return None
        ticket = self._next()
        if ticket is not None:
            self.handed.add(ticket.identity)
        return ticket

    def _next(self) -> Ticket | None:
        searcher = self._replayed()
        if self._unfinished:
            ordinal, trial = self._unfinished.popleft()
            return self.ticket_of(trial, ordinal)
        while self._next_ordinal < self.design.budget:
            ordinal = self._next_ordinal
            self._next_ordinal += 1
            ticket = self._proposed(searcher, ordinal)
            if ticket is not None:
                return ticket
        return None

    def exhausted(self) -> bool:
        self._replayed()
        left = bool(self._unfinished) or self._next_ordinal < self.design.budget
        return not left or self._at_limit()

    def left(self) -> int:
        open_ = len(self._unfinished) + self.design.budget - self._next_ordinal
        return open_ if self.limit is None else min(open_, self.limit - len(self.handed))

    def _at_limit(self) -> bool:
        return self.limit is not None and len(self.handed) >= self.limit

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None:
        """Remembers the last intermediate value, which a pruned trial is judged by."""
        if ticket.ordinal is not None:
            self._reports[ticket.ordinal] = (step, metrics.get(self.design.metric))

    def ended(self, ticket: Ticket, state: State) -> None:
        if ticket.ordinal is None or state == "cancelled":  # the next run goes on with it
            return
        if state == "pruned":
            step, value = self._reports.get(ticket.ordinal, (0, None))
            self._learn(Learned(ticket.ordinal, value, pruned_at=step, rule="asha"))
        else:
            self._learn(Learned(ticket.ordinal, self._value(ticket.identity)))

    def _learn(self, line: Learned) -> None:
        self._list.append(line)
        self._replayed().learn(line.ordinal, line.value)

    @property
    def _list(self) -> SearchList:
        return SearchList(self.study.folder)

    def _proposed(self, searcher: Searcher, ordinal: int) -> Ticket | None:
        point = searcher.propose(ordinal)
        try:
            trial = self._trial(ordinal, point)
        except UsageError as error:
            self._list.append(Proposal(ordinal, point, refused=str(error)))
            self._learn(Learned(ordinal))
            return None
        self._list.append(Proposal(ordinal, point, identity=trial.identity))
        if self._has_ended(trial.identity):
            self._learn(Learned(ordinal, self._value(trial.identity)))
            return None
        return self.ticket_of(trial, ordinal)

    def _replayed(self) -> Searcher:
        """The searcher, once it has lived through the list again: the same words, in order."""
        if self._searcher is not None:
            return self._searcher
        searcher = self._searcher = searcher_for(self.design)
        open_proposals: dict[int, Proposal] = {}
        for line in self._list.lines():
            if isinstance(line, Learned):
                searcher.learn(line.ordinal, line.value)
                open_proposals.pop(line.ordinal, None)
                continue
            point = searcher.propose(line.ordinal)
            if point != line.point:
                raise UsageError(
                    f"Resuming the search proposes {point} as ordinal {line.ordinal}, but its "
                    f"list says {line.point}: another Optuna made it. Use that version, or "
                    "change searcher_seed to start a new search."
                )
            self._next_ordinal = line.ordinal + 1
            open_proposals[line.ordinal] = line
        for proposal in open_proposals.values():
            if proposal.identity is None or self._has_ended(proposal.identity):
                value = self._value(proposal.identity) if proposal.identity else None
                self._learn(Learned(proposal.ordinal, value))
            else:
                trial = self._trial(proposal.ordinal, proposal.point)
                self._unfinished.append((proposal.ordinal, trial))
        return searcher

    def _has_ended(self, identity: str) -> bool:
        record = self.study.ledger.records([identity])[identity]
        return record.outcome is not None or record.state == "failed"

    def _trial(self, ordinal: int, point: dict[str, Any]) -> Trial:
        arm = proposal_arm(self.design, ordinal, point)
        (trial,) = self.study.maker.trials([arm], ())
        self.study.maker.check([trial])
        return trial

    def _value(self, identity: str) -> float | None:
        outcome = self.study.ledger.records([identity])[identity].outcome
        return None if outcome is None else outcome.search_value(self.design.metric)
