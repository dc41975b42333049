"""Reduces what several ranks say of one (key, step) to one row, and a row for their spread.

Each step that several ranks reached also has a row for the rank that came last, and for how long
after the first it came, by their hosts' clocks.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from telemetry.events import Event, Mark, Reducer, values_of
from telemetry.rowlog import Row

SPREAD = "/spread"
SLOWEST = "ranks/slowest"
"""The number of the rank whose first event of a step is the last of all (the lowest, if tied)."""
LAG_MS = "ranks/lag_ms"
"""Milliseconds between the first and the last rank's first event of a step."""
SECONDS_PREFIX = "sys/"
"""Metrics under it are by seconds, not by training steps: their steps say nothing of the others."""
_ARRIVAL = ""
"""Stands among the metric keys for when a rank first said anything at a step."""


class Reading(NamedTuple):
    """What one rank measured; None is "not measured"."""

    rank: int
    time_ms: int
    value: float | None


def reduce_ranks(values: Sequence[float], reducer: Reducer) -> float:
    """One value of the ranks' values, given by ascending rank and time for `last`.

    A NaN of any rank makes mean, sum, min and max NaN: a rank that diverged must be seen.
    """
    if reducer == "last":
        return values[-1]
    if reducer in ("mean", "sum"):
        total = math.fsum(values) if all(map(math.isfinite, values)) else sum(values)
        return total if reducer == "sum" else total / len(values)
    if any(map(math.isnan, values)):
        return math.nan
    return min(values) if reducer == "min" else max(values)


def rows_of(
    key: str, step: int, attempt: int, readings: Sequence[Reading], reducer: Reducer
) -> Iterator[Row]:
    """The row of a (key, step), and its `<key>/spread` (largest - smallest) if ranks > 1 measured.

    Yields nothing if no rank measured it.
    """
    measured = sorted((r for r in readings if r.value is not None), key=lambda r: r.rank)
    if not measured:
        return
    time_ms = measured[0].time_ms
    if reducer == "last":
        measured.sort(key=lambda r: (r.time_ms, r.rank))
    values = [reading.value for reading in measured if reading.value is not None]
    yield Row(key, step, time_ms, reduce_ranks(values, reducer), attempt, len(values))
    if len(values) > 1:
        spread = math.nan if any(map(math.isnan, values)) else max(values) - min(values)
        yield Row(key + SPREAD, step, time_ms, spread, attempt, len(values))


def arrival_rows(step: int, attempt: int, arrivals: Sequence[Reading]) -> Iterator[Row]:
    """The `ranks/slowest` and `ranks/lag_ms` of a step; none if fewer than two ranks reached it."""
    if len(arrivals) < 2:
        return
    first = min(arrivals, key=lambda arrival: arrival.time_ms)
    last = max(arrivals, key=lambda arrival: (arrival.time_ms, -arrival.rank))
    time_ms = min(arrivals).time_ms
    for key, value in ((SLOWEST, last.rank), (LAG_MS, last.time_ms - first.time_ms)):
        yield Row(key, step, time_ms, float(value), attempt, len(arrivals))


def _by_seconds(key: str) -> bool:
    return key.startswith(SECONDS_PREFIX)


_Place = tuple[bool, int]
"""Whether metrics are by seconds, and a rank."""


@dataclass
class _Waiting:
    """What ranks said of a (key, step) so far, and when the first of it was read here."""

    seen_s: float
    readings: dict[int, Reading] = field(default_factory=dict)


class _Steps:
    """The steps that wait, of metrics by steps or of those by seconds: each with its keys.

    They are complete from the lowest on: a rank that has its say on a step to come has passed all
    before it.
    """

    def __init__(self) -> None:
        self.by_step: dict[int, dict[str, _Waiting]] = {}
        """In the order in which they were first seen."""
        self._lowest: list[int] = []
        """A heap of the steps."""

    def at(self, step: int) -> dict[str, _Waiting]:
        """What waits at a step, to add to."""
        waiting = self.by_step.get(step)
        if waiting is None:
            waiting = self.by_step[step] = {}
            heapq.heappush(self._lowest, step)
        return waiting

    def latest_seen_before(self, time_s: float) -> float:
        """The highest step of those that were first seen before a time; -inf if there is none."""
        latest = -math.inf
        for step, waiting in self.by_step.items():
            if next(iter(waiting.values())).seen_s >= time_s:
                break
            latest = max(latest, step)
        return latest

    def take(
        self, ready: Callable[[int, _Waiting], bool]
    ) -> Iterator[tuple[int, str, list[Reading]]]:
        """Takes what is ready out, in order of step and key, up to a step that is not all ready."""
        while self._lowest:
            step = self._lowest[0]
            waiting = self.by_step[step]
            for key in sorted(waiting):
                if ready(step, waiting[key]):
                    yield step, key, list(waiting.pop(key).readings.values())
            if waiting:
                return
            heapq.heappop(self._lowest)
            del self.by_step[step]


@dataclass
class AttemptReduction:
    """Gathers the events of one attempt and gives out rows once every rank has had its say.

    A rank has had its say on (key, step) when it reported it, when it went on to a later step, or
    when it closed. A rank that kept a step beyond its time is silent, and is not waited for until
    it says something. `ranks` and `reducers` come from the attempt's own marks.
    """

    attempt: int
    ranks: int = 1
    reducers: dict[str, Reducer] = field(default_factory=dict)
    held: int = 0
    """Readings that wait for other ranks."""
    _waiting: dict[bool, _Steps] = field(default_factory=lambda: {False: _Steps(), True: _Steps()})
    _reached: dict[_Place, float] = field(default_factory=dict)
    _silent: set[_Place] = field(default_factory=set)
    _closed: set[int] = field(default_factory=set)

    @property
    def silent(self) -> set[int]:
        """The ranks that are not waited for."""
        return {rank for _, rank in self._silent}

    def reached(self, rank: int) -> float:
        """The latest training step that a rank has come to; -inf before its first."""
        return self._reached.get((False, rank), -math.inf)

    def take(self, event: Event, now_s: float = 0.0) -> Iterator[Row]:
        """Takes one event, read at `now_s`; yields rows at once if the attempt has a single rank.

        `now_s` is of any clock of this process: what other hosts' clocks say does not matter.
        Values without a step are at none, and give no row.
        """
        payload, step = event.payload, event.step
        measured = values_of(payload)
        if measured is not None and step is not None:
            if self.ranks == 1:
                for key, value in measured.items():
                    if value is not None:
                        yield Row(key, step, event.time_ms, value, event.attempt)
                return
            for key, value in measured.items():
                place = (_by_seconds(key), event.rank)
                if not place[0]:
                    self._note(event, step, _ARRIVAL, None, now_s)
                self._note(event, step, key, value, now_s)
                self._reached[place] = max(self._reached.get(place, -math.inf), step)
                self._silent.discard(place)
        elif isinstance(payload, Mark):
            self._mark(event.rank, payload)

    def _note(self, event: Event, step: int, key: str, value: float | None, now_s: float) -> None:
        keys = self._waiting[_by_seconds(key)].at(step)
        waiting = keys.get(key)
        if waiting is None:
            waiting = keys[key] = _Waiting(now_s)
        if event.rank not in waiting.readings:
            waiting.readings[event.rank] = Reading(event.rank, event.time_ms, value)
            self.held += 1

    def _mark(self, rank: int, mark: Mark) -> None:
        if mark.name in ("started", "resumed"):
            ranks, reducers = mark.facts.get("ranks"), mark.facts.get("reducers")
            if isinstance(ranks, int):
                self.ranks = max(self.ranks, ranks)
            if isinstance(reducers, Mapping):
                self.reducers.update({str(k): v for k, v in reducers.items() if v in _REDUCERS})
            self._closed.discard(rank)  # it came back
        elif mark.name == "closed":
            self._closed.add(rank)

    def complete(self, *, seen_before_s: float | None = None) -> Iterator[Row]:
        """Yields the rows of every (key, step) on which all ranks had their say.

        With `seen_before_s`, also of those whose first reading was taken before that time, unless
        an earlier step waits. What waits behind a step that is not complete is not looked at.
        """
        if seen_before_s is not None:
            self._find_silent(seen_before_s)
        for by_seconds in (False, True):
            ranks = self._awaited(by_seconds)

            def ready(step: int, waiting: _Waiting, ranks: dict[int, float] = ranks) -> bool:
                overdue = seen_before_s is not None and waiting.seen_s < seen_before_s
                return overdue or all(
                    rank in waiting.readings or reached > step for rank, reached in ranks.items()
                )

            yield from self._give(by_seconds, ready)

    def _awaited(self, by_seconds: bool) -> dict[int, float]:
        """The ranks that still have a say, and the latest step that each has come to."""
        return {
            rank: self._reached.get((by_seconds, rank), -math.inf)
            for rank in range(self.ranks)
            if rank not in self._closed and (by_seconds, rank) not in self._silent
        }

    def _find_silent(self, seen_before_s: float) -> None:
        """A rank that has not come to a step whose time is over is silent."""
        for by_seconds, waiting in self._waiting.items():
            latest = waiting.latest_seen_before(seen_before_s)
            self._silent |= {
                (by_seconds, rank)
                for rank, reached in self._awaited(by_seconds).items()
                if reached < latest
            }

    def leave_behind(self, ranks: Collection[int]) -> None:
        """Takes those of `ranks`, which have no more to say for now, as silent that lag."""
        for by_seconds, waiting in self._waiting.items():
            latest = max(waiting.by_step, default=-math.inf)
            self._silent |= {
                (by_seconds, rank)
                for rank, reached in self._awaited(by_seconds).items()
                if rank in ranks and reached < latest
            }

    def rest(self) -> Iterator[Row]:
        """Yields what is left, reduced over the ranks that reported: the attempt has ended."""
        for by_seconds in (False, True):
            yield from self._give(by_seconds, lambda step, waiting: True)

    def _give(self, by_seconds: bool, ready: Callable[[int, _Waiting], bool]) -> Iterator[Row]:
        for step, key, readings in self._waiting[by_seconds].take(ready):
            self.held -= len(readings)
            if key == _ARRIVAL:
                yield from arrival_rows(step, self.attempt, readings)
                continue
            reducer = self.reducers.get(key, "mean")
            yield from rows_of(key, step, self.attempt, readings, reducer)


_REDUCERS = ("mean", "sum", "min", "max", "last")
