"""How the ranks of a trial keep up with each other, by the steps and times of their events."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from telemetry.events import Mark

SILENT_AFTER_S = 60.0
"""A rank is silent when the others have got further and it has said nothing for so long."""
KEPT_STEPS = 16


@dataclass(frozen=True)
class RankStanding:
    """How one rank does: its newest step, and how far it is behind the first of the ranks."""

    rank: int
    step: int | None
    behind_steps: int
    late_s: float | None
    """How long after the first rank it reached the newest step they all have; None if none."""


@dataclass
class _Rank:
    step: int | None = None
    last_ms: int | None = None
    closed: bool = False
    times: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """Step -> when it was first reached, of the newest steps."""


class RankClock:
    """The ranks of one attempt at a trial."""

    def __init__(self) -> None:
        self.attempt = -1
        self.expected: int | None = None
        """How many ranks there are, if one has said so."""
        self._ranks: dict[int, _Rank] = {}
        self._began_ms = 0

    @property
    def count(self) -> int:
        """Ranks that are expected or were heard of."""
        return max(self.expected or 0, len(self._ranks))

    def see(self, attempt: int, rank: int, time_ms: int, step: int | None) -> None:
        """Takes an event's place in; a higher attempt starts anew, a lower one is passed over."""
        if attempt > self.attempt:
            self.attempt, self.expected, self._ranks = attempt, None, {}
            self._began_ms = time_ms
        if attempt < self.attempt:
            return
        known = self._ranks.setdefault(rank, _Rank())
        known.last_ms = max(known.last_ms or 0, time_ms)
        if step is None:
            return
        known.step = max(step, known.step if known.step is not None else step)
        if step not in known.times:
            known.times[step] = time_ms
            while len(known.times) > KEPT_STEPS:
                known.times.popitem(last=False)

    def mark(self, attempt: int, rank: int, mark: Mark) -> None:
        """Takes in how many ranks there are, and that one has ended."""
        if attempt != self.attempt:
            return
        ranks = mark.facts.get("ranks")
        if isinstance(ranks, int):
            self.expected = ranks
        if mark.name in ("closed", "finished", "failed"):
            self._ranks.setdefault(rank, _Rank()).closed = True

    def standings(self) -> list[RankStanding]:
        """Every rank that is expected or was heard of, in order."""
        first = max((r.step for r in self._ranks.values() if r.step is not None), default=None)
        common = self._newest_common_step()
        started = None
        if common is not None:
            started = min(known.times[common] for known in self._ranks.values())
        found = []
        for rank in range(max([*self._ranks, (self.expected or 0) - 1], default=-1) + 1):
            known = self._ranks.get(rank, _Rank())
            behind = 0 if first is None else first - (known.step or 0)
            late = None
            if common is not None and started is not None and rank in self._ranks:
                late = (known.times[common] - started) / 1000
            found.append(RankStanding(rank, known.step, behind, late))
        return found

    def slowest(self) -> RankStanding | None:
        """The rank that is furthest behind, or else the last to reach the newest step they share.

        None with fewer than two ranks, or where all are level.
        """
        standings = self.standings()
        if len(standings) < 2:
            return None
        worst = max(standings, key=lambda one: (one.behind_steps, one.late_s or 0.0))
        return worst if worst.behind_steps or worst.late_s else None

    def silent(self, after_s: float = SILENT_AFTER_S) -> list[RankStanding]:
        """Ranks that have said nothing for `after_s` while another got further."""
        newest = max((r.last_ms for r in self._ranks.values() if r.last_ms), default=0)
        found = []
        for standing in self.standings():
            known = self._ranks.get(standing.rank)
            if known is not None and known.closed:
                continue
            since = self._began_ms if known is None else known.last_ms or self._began_ms
            if standing.behind_steps and newest - since > after_s * 1000:
                found.append(standing)
        return found

    def _newest_common_step(self) -> int | None:
        shared: set[int] | None = None
        for known in self._ranks.values():
            shared = set(known.times) if shared is None else shared & known.times.keys()
        return max(shared) if shared and len(self._ranks) > 1 else None
