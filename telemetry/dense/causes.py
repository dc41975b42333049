"""Reads causes out of dense traces: what fired, at which step, and what had changed first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from telemetry.anomalies import FORCED
from telemetry.contracts import BatchMetrics, DenseTrace, GateEvaluationTrace
from telemetry.dense.trigger import kind_of
from telemetry.dense.window import BATCHES_BEFORE
from telemetry.events import INTERVENTION, Event, Trace
from telemetry.nonfinite import name_of

LEAST_USUAL = 4
"""Values without which nothing is said of what is usual."""
GAP = 3
"""A change holds on if no more than so many batches are back to usual in between."""


@dataclass(frozen=True)
class Change:
    """A measure that left its usual range: `usual` is its median well before the trigger.

    None if too little was recorded to know it; then the value is one that is not finite.
    """

    what: str
    step: int
    value: float
    usual: float | None

    def text(self) -> str:
        usual = "" if self.usual is None else f"; usually {self.usual:.3g}"
        return f"{self.what} at step {self.step} ({self.value:.3g}{usual})"

    def to_json(self) -> dict[str, Any]:
        """A value that JSON can't hold is the text nan, inf or -inf."""
        finite = math.isfinite(self.value)
        return {**asdict(self), "value": self.value if finite else name_of(self.value)}


@dataclass(frozen=True)
class Cause:
    """One trigger of one rank. `batches`: how many the dense traces hold of it, 0 if none.

    `first`: what changed first, all that did at the same step; None if too little was recorded.
    `gate`: why a gate held, where that is what fired. `done`: what the trial itself did about it,
    of an intervention; no dense trace stands behind one.
    """

    attempt: int
    rank: int
    reason: str
    step: int
    batches: int
    first: Sequence[Change] | None
    gate: str | None = None
    done: str | None = None

    def to_json(self) -> dict[str, Any]:
        first = None if self.first is None else [change.to_json() for change in self.first]
        return {**asdict(self), "first": first}

    def text(self) -> str:
        lines = f"attempt {self.attempt}, rank {self.rank}, step {self.step}: {self.reason}"
        lines += "" if self.gate is None else f" ({self.gate})"
        if self.done is not None:
            return f"{lines}; {self.done}"
        if not self.batches:
            return f"{lines}; its process ended before the trace was written"
        if self.first is None:
            return f"{lines}; too few batches before it to say what changed first"
        if not self.first:
            return f"{lines}; nothing in the batches before it had changed"
        named = "; ".join(change.text() for change in self.first[:3])
        more = f" and {len(self.first) - 3} more" if len(self.first) > 3 else ""
        return f"{lines}; first to change: {named}{more}"


def root_causes(events: Iterable[Event]) -> list[Cause]:
    """The triggers that dense traces tell of, in the order of attempts, ranks and steps.

    Takes the events of each rank in the order of their sequence numbers, and keeps no more of its
    batches than a trigger looks back on. A window whose process was killed left no trace but word
    that it had opened: it is named too. So is what a trial did by itself (an intervention).
    """
    interventions: list[Cause] = []
    known: dict[tuple[int, int], dict[int, BatchMetrics]] = {}
    causes: dict[tuple[int, int, int], Cause] = {}
    for event in events:
        rank, payload = (event.attempt, event.rank), event.payload
        batches = known.setdefault(rank, {})
        if isinstance(payload, DenseTrace):
            batches |= {one.step: one for one in payload.batch_metrics if one.step is not None}
            if payload.trigger_step is not None:
                place = (*rank, payload.trigger_step)
                causes[place] = _told(causes.get(place), payload, place, batches.values())
            for step in sorted(batches)[: -BATCHES_BEFORE - 1]:
                del batches[step]
        elif not isinstance(payload, Trace) or event.step is None:
            continue
        elif payload.name == INTERVENTION:
            done = str(payload.data.get("done", "what was done is not told"))
            interventions.append(Cause(*rank, payload.reason, event.step, 0, None, done=done))
        elif _opens_window(payload):
            first = first_changes(batches.values(), event.step)
            cause = Cause(*rank, payload.reason, event.step, 0, first)
            causes.setdefault((*rank, event.step), cause)
    found = [*causes.values(), *interventions]
    return sorted(found, key=lambda cause: (cause.attempt, cause.rank, cause.step))


def _told(
    before: Cause | None,
    trace: DenseTrace,
    place: tuple[int, int, int],
    batches: Iterable[BatchMetrics],
) -> Cause:
    """What is known of a trigger with one more of its traces; what came first, the first says."""
    attempt, rank, step = place
    count = len(trace.batch_metrics)
    first: Sequence[Change] | None
    if before is None or not before.batches:
        first = first_changes(batches, step)
    else:
        first, count = before.first, before.batches + count
    reason = _joined(None if before is None else before.reason, trace.trigger_reason)
    gate = _gate(trace.gate_evaluation_details) or (before.gate if before else None)
    return Cause(attempt, rank, reason, step, count, first, gate)


def _gate(held: GateEvaluationTrace | None) -> str | None:
    """How a gate that did not let pass came to its answer, in a few words."""
    if held is None or held.passed is not False:
        return None
    where = "" if held.slot_id is None else f" of {held.slot_id}"
    why = held.message or ", ".join(held.checks_failed) or "no reason was told"
    return f"gate {held.gate}{where}: {why}"


def first_changes(batches: Iterable[BatchMetrics], step: int) -> list[Change] | None:
    """What left its usual range first, on the way to `step`; None if too little was recorded.

    Usual is what a measure did in the first half of the (at most 50) batches before. It has changed
    when it is not finite, or outside of the range it had there and also more than twice, or less
    than half, its median there; and when it stays so until `step`. Where too few batches came
    before to know what is usual, only what is not finite has changed.
    """
    before = sorted((b for b in batches if b.step is not None and b.step <= step), key=_step)
    before = before[-BATCHES_BEFORE - 1 :]
    changes = [
        change
        for name in _measures(before)
        if (change := _change(name, [(_step(one), _measure(one, name)) for one in before]))
    ]
    if not changes and len(before) < 2 * LEAST_USUAL:
        return None
    first = min((change.step for change in changes), default=None)
    return [change for change in changes if change.step == first]


def _change(name: str, series: Sequence[tuple[int, float | None]]) -> Change | None:
    """Where a measure left its usual range for good; None if it did not."""
    known = [(step, value) for step, value in series if value is not None]
    usual = [value for _, value in known[: len(known) // 2] if math.isfinite(value)]
    enough = len(usual) >= LEAST_USUAL
    median = statistics.median(usual) if enough else None
    found: Change | None = None
    back = 0
    for step, value in reversed(known[len(known) // 2 :] if enough else known):
        more = median is not None and value > max(usual) and abs(value) > 2 * abs(median)
        less = median is not None and value < min(usual) and abs(value) < abs(median) / 2
        if more or less or not math.isfinite(value):
            found, back = Change(name, step, value, median), 0
        else:
            back += 1
            if back > GAP:
                break
    return found


def _opens_window(trace: Trace) -> bool:
    return trace.name == "dense_window" and trace.data.get("state") == "opened"


def _measures(batches: Sequence[BatchMetrics]) -> list[str]:
    """The names of what was measured; groups by their order in the model."""
    groups = dict.fromkeys(name for batch in batches for name in batch.seed_grad_norms)
    return ["loss", "accuracy", "gradient norm", *(f"gradient norm of {name}" for name in groups)]


def _measure(batch: BatchMetrics, name: str) -> float | None:
    plain = {"loss": batch.loss, "accuracy": batch.accuracy, "gradient norm": batch.host_grad_norm}
    if name in plain:
        return plain[name]
    return batch.seed_grad_norms.get(name.removeprefix("gradient norm of "))


def _step(batch: BatchMetrics) -> int:
    assert batch.step is not None
    return batch.step


def _joined(known: str | None, reason: str) -> str:
    """Reasons of a window's traces, each once, without that it was forced."""
    reasons = [] if known is None else known.split(",")
    for one in reason.split(","):
        if one != FORCED and kind_of(one) not in map(kind_of, reasons):
            reasons.append(one)
    return ",".join(reasons)
