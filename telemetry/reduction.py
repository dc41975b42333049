"""Reduces what several ranks say of one (key, step) to one row, and a row for their spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from telemetry.events import Event, Mark, Reducer, values_of
from telemetry.rowlog import Row

SPREAD = "/spread"


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


@dataclass
class AttemptReduction:
    """Gathers the events of one attempt and gives out rows once every rank has had its say.

    A rank has had its say on (key, step) when it reported it, when it went on to a later step, or
    when it closed. `ranks` and `reducers` come from the attempt's own marks.
    """

    attempt: int
    ranks: int = 1
    reducers: dict[str, Reducer] = field(default_factory=dict)
    _waiting: dict[tuple[int, str], dict[int, Reading]] = field(default_factory=dict)
    _reached: dict[int, float] = field(default_factory=dict)

    def take(self, event: Event) -> Iterator[Row]:
        """Takes one event; yields rows at once if the attempt has a single rank."""
        payload = event.payload
        measured = values_of(payload)
        if measured is not None:
            step = event.step if event.step is not None else 0
            if self.ranks == 1:
                for key, value in measured.items():
                    if value is not None:
                        yield Row(key, step, event.time_ms, value, event.attempt)
                return
            for key, value in measured.items():
                readings = self._waiting.setdefault((step, key), {})
                readings.setdefault(event.rank, Reading(event.rank, event.time_ms, value))
            self._reached[event.rank] = max(self._reached.get(event.rank, -math.inf), step)
        elif isinstance(payload, Mark):
            self._mark(event.rank, payload)

    def _mark(self, rank: int, mark: Mark) -> None:
        if mark.name in ("started", "resumed"):
            ranks, reducers = mark.facts.get("ranks"), mark.facts.get("reducers")
            if isinstance(ranks, int):
                self.ranks = max(self.ranks, ranks)
            if isinstance(reducers, Mapping):
                self.reducers.update({str(k): v for k, v in reducers.items() if v in _REDUCERS})
            if self._reached.get(rank) == math.inf:  # a rank that came back
                self._reached[rank] = -math.inf
        elif mark.name == "closed":
            self._reached[rank] = math.inf

    def complete(self, *, older_than_ms: int | None = None) -> Iterator[Row]:
        """Yields the rows of every (key, step) on which all ranks had their say.

        With `older_than_ms`, also of those whose first reading is older than that wall time.
        """
        if not self._waiting:
            return
        slowest = min(self._reached.get(rank, -math.inf) for rank in range(self.ranks))
        ready = []
        for place, readings in self._waiting.items():
            overdue = older_than_ms is not None and (
                min(reading.time_ms for reading in readings.values()) < older_than_ms
            )
            if len(readings) >= self.ranks or place[0] < slowest or overdue:
                ready.append(place)
        yield from self._give(ready)

    def rest(self) -> Iterator[Row]:
        """Yields what is left, reduced over the ranks that reported: the attempt has ended."""
        yield from self._give(list(self._waiting))

    def _give(self, places: Sequence[tuple[int, str]]) -> Iterator[Row]:
        for step, key in sorted(places):
            readings = list(self._waiting.pop((step, key)).values())
            reducer = self.reducers.get(key, "mean")
            yield from rows_of(key, step, self.attempt, readings, reducer)


_REDUCERS = ("mean", "sum", "min", "max", "last")
