"""Two records of one trial, number by number: identical, within a tolerance, or where they part."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.engine.reports import BEST
from orchestrator.replaying.recorded import OF_THE_MACHINE
from telemetry.reduction import SPREAD
from workloads.contract import Metric

Answer = Literal["identical", "within_tolerance", "parted"]


@dataclass(frozen=True)
class Pair:
    """One number as recorded and as replayed; None: it is not there, or was not measured."""

    metric: str
    step: int | None
    """None for a final metric or a score."""
    recorded: float | None
    replayed: float | None

    @property
    def same(self) -> bool:
        """Whether both are the same bits: 0.0 is not -0.0. Files tell one NaN only."""
        a, b = self.recorded, self.replayed
        if a is None or b is None:
            return a is b
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b and math.copysign(1.0, a) == math.copysign(1.0, b)

    @property
    def difference(self) -> float:
        """Relative to the larger of the two: 0 for equals, infinite where one is missing."""
        a, b = self.recorded, self.replayed
        if a == b or self.same:
            return 0.0
        if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
            return math.inf
        return abs(a - b) / max(abs(a), abs(b))

    def __str__(self) -> str:
        place = self.metric if self.step is None else f"{self.metric} at step {self.step}"
        return f"{place}: {_shown(self.recorded)} then, {_shown(self.replayed)} now"

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "step": self.step,
            "recorded": _jsonable(self.recorded),
            "replayed": _jsonable(self.replayed),
            "relative_difference": _jsonable(self.difference),
        }


@dataclass(frozen=True)
class Comparison:
    """What all pairs come to. `first` is the earliest that is beyond the tolerance."""

    tolerance: float
    metrics: int = 0
    rows: int = 0
    final: int = 0
    """Final metrics of the outcome."""
    scores: int = 0
    """Per-unit scores of the outcome."""
    differing: int = 0
    beyond: int = 0
    missing_then: int = 0
    missing_now: int = 0
    first: Pair | None = None
    largest: Pair | None = None
    """The pair that differs most, of those that are within the tolerance."""

    @property
    def answer(self) -> Answer:
        if self.beyond:
            return "parted"
        return "within_tolerance" if self.differing else "identical"

    def to_json(self) -> dict[str, Any]:
        return {
            "tolerance": self.tolerance,
            "metrics": self.metrics,
            "rows": self.rows,
            "final_metrics": self.final,
            "scores": self.scores,
            "differing": self.differing,
            "beyond_tolerance": self.beyond,
            "missing_in_record": self.missing_then,
            "missing_in_replay": self.missing_now,
            "first_parting": self.first.to_json() if self.first else None,
            "largest_difference": self.largest.to_json() if self.largest else None,
        }


def compare(
    rows: Iterable[Pair], final: Iterable[Pair], scores: Iterable[Pair], tolerance: float
) -> Comparison:
    """`rows` in the order of steps; final metrics and scores come after every step."""
    counts = {"rows": 0, "final": 0, "scores": 0}
    names: set[str] = set()
    differing = beyond = missing_then = missing_now = 0
    first: Pair | None = None
    largest: Pair | None = None
    for kind, pairs in (("rows", rows), ("final", final), ("scores", scores)):
        for pair in pairs:
            counts[kind] += 1
            if kind == "rows":
                names.add(pair.metric)
            if pair.same:
                continue
            difference = pair.difference
            differing += 1
            missing_then += pair.recorded is None
            missing_now += pair.replayed is None
            if difference > tolerance:
                beyond += 1
                first = first or pair
            elif largest is None or difference > largest.difference:
                largest = pair
    return Comparison(
        tolerance=tolerance,
        metrics=len(names),
        **counts,
        differing=differing,
        beyond=beyond,
        missing_then=missing_then,
        missing_now=missing_now,
        first=first,
        largest=largest,
    )


def row_pairs(
    recorded: Mapping[tuple[int, str], float],
    replayed: Mapping[tuple[int, str], float],
    metrics: Mapping[str, Metric],
    ended_at: int | None,
    elsewhere: Collection[tuple[int, str]] = (),
) -> Iterator[Pair]:
    """Every (step, metric) of either side, by step.

    `ended_at`: the recorded side was cut off in that step, so what it lacks from there on is no
    difference; None if it ran to its end. Nor is what it has from an attempt with other settings
    only: `elsewhere`.
    """
    for place in sorted(recorded.keys() | replayed.keys()):
        step, key = place
        if not is_reproducible(key, metrics):
            continue
        cut_off = ended_at is not None and step >= ended_at
        if place not in recorded and (cut_off or place in elsewhere):
            continue
        yield Pair(key, step, recorded.get(place), replayed.get(place))


def final_pairs(
    recorded: Mapping[str, float | None],
    replayed: Mapping[str, float | None],
    metrics: Mapping[str, Metric],
) -> Iterator[Pair]:
    """Final metrics of either side, by name."""
    for name in sorted(recorded.keys() | replayed.keys()):
        if is_reproducible(name, metrics):
            yield Pair(f"final {name}", None, recorded.get(name), replayed.get(name))


def is_reproducible(key: str, metrics: Mapping[str, Metric]) -> bool:
    """Whether the same training gives the same number."""
    name = key.removesuffix(SPREAD)
    if name.startswith(OF_THE_MACHINE):
        return False
    plain = name.removeprefix(BEST)
    declared = metrics.get(name) or metrics.get(plain) or metrics.get(f"eval/{plain}")
    return declared is None or declared.reproducible


def _shown(value: float | None) -> str:
    return "n/a" if value is None else repr(value)


def _jsonable(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value
