"""A replay from its command to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.interruption import interrupted_by_terminate
from orchestrator.ledger import read_trial
from orchestrator.records import Failure
from orchestrator.replaying.comparing import (
    Comparison,
    Pair,
    compare,
    final_pairs,
    row_pairs,
)
from orchestrator.replaying.differences import differences
from orchestrator.replaying.recorded import CannotReplay, Recorded, read_recorded
from orchestrator.replaying.rerunning import Replayable, prepare, rerun, scratch_home
from orchestrator.tracing import find_trial

_OF_THE_PROGRAM = ("user_error", "diverged")
"""Kinds of failures that the same program must come to again."""

Told = Callable[[str, int, int], object]
"""Told the trial's label, the step that is reached and the last step on record."""


@dataclass(frozen=True)
class Replay:
    """What a replay came to."""

    identity: str
    attempt: int
    attempts: int
    """How many attempts of the record are compared."""
    label: str
    comparison: Comparison
    ended_then: str
    """`done`, or the failure."""
    ended_now: str
    same_end: bool
    differences: Sequence[str]
    """What was not the same then: code, packages, device, processor."""
    seconds: float
    passed_over: Sequence[str] = ()
    """Attempts of the record with other settings, which are not compared."""
    kept: Path | None = None
    """The scratch home, if it was to be kept."""

    @property
    def answer(self) -> str:
        """`identical`, `within_tolerance` or `parted`; `nothing_to_compare` if it failed as before,
        without a number."""
        found = self.comparison
        if not self.same_end:
            return "parted"
        if not (found.rows or found.final or found.scores):
            return "nothing_to_compare"
        return found.answer

    @property
    def exit_code(self) -> int:
        return 1 if self.answer == "parted" else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.identity,
            "label": self.label,
            "attempt": self.attempt,
            "attempts": self.attempts,
            "answer": self.answer,
            **self.comparison.to_json(),
            "ended_then": self.ended_then,
            "ended_now": self.ended_now,
            "differences": list(self.differences),
            "passed_over": list(self.passed_over),
            "seconds": round(self.seconds, 1),
            "kept": None if self.kept is None else str(self.kept),
        }

    def text(self) -> str:
        found = self.comparison
        lines = [self.label, *self._verdict(), f"compared: {self._compared()}"]
        lines += [f"not compared: {line}" for line in self.passed_over]
        if found.missing_then or found.missing_now:
            lines.append(
                f"missing: {found.missing_now} numbers in the replay, "
                f"{found.missing_then} in the record"
            )
        if self.ended_then != "done" or self.ended_now != "done":
            lines.append(f"ended: {self.ended_then} then, {self.ended_now} now")
        lines += [f"differs: {line}" for line in self.differences]
        if not self.differences and self.answer not in ("identical", "nothing_to_compare"):
            lines.append("differs: nothing on record: same code, packages, device and processor")
        if self.kept is not None:
            lines.append(f"kept: {self.kept}")
        return "\n".join(lines)

    def _verdict(self) -> Iterator[str]:
        found = self.comparison
        if self.answer == "identical":
            yield "identical"
        elif self.answer == "nothing_to_compare":
            yield "nothing to compare: it has no row, then as now"
        elif self.answer == "within_tolerance":
            yield f"within tolerance {found.tolerance:g}: {found.differing} numbers differ"
        else:
            yield "parted"
        if found.first is not None:
            yield f"first: {found.first} (relative difference {found.first.difference:.3g})"
            yield f"beyond tolerance {found.tolerance:g}: {found.beyond} numbers"
        elif found.largest is not None:
            yield f"largest: {found.largest} (relative difference {found.largest.difference:.3g})"

    def _compared(self) -> str:
        found = self.comparison
        parts = [f"{found.rows} rows of {found.metrics} metrics"]
        parts += [f"{found.final} final metrics"] if found.final else []
        parts += [f"{found.scores} scores"] if found.scores else []
        tries = f"{self.attempts} attempts" if self.attempts > 1 else f"attempt {self.attempt}"
        return f"{', '.join(parts)} of {tries}, in {self.seconds:.1f} s"


def replay_trial(
    name: str,
    home: str | Path | None = None,
    *,
    attempt: int | None = None,
    tolerance: float = 0.0,
    keep: bool = False,
    told: Told = lambda label, step, last: None,
) -> Replay:
    """Runs a trial again in a scratch home beside it, and compares. The real one is only read.

    `tolerance` is relative to the larger of two numbers. Raises `CannotReplay` if what the trial
    ran from is gone or has changed, `UsageError` if there is no such trial or it still runs.
    """
    began = time.monotonic()
    place = Home.find(home)
    identity = find_trial(place, name)
    if read_trial(place, identity).state == "running":
        raise UsageError(f"{identity} is running. Replay it once it has ended.")
    then = read_recorded(place, identity, attempt)
    trial = prepare(then)
    label = str(then.context.facts.get("label", identity))
    last = then.last_step
    with interrupted_by_terminate(), scratch_home(then, keep) as scratch:
        told(label, 0, last)
        rerun(trial, scratch, lambda step: told(label, step, last))
        now = read_recorded(scratch, identity)
        _refuse_a_broken_replay(then, now)
        return Replay(
            identity=identity,
            attempt=then.attempt,
            attempts=then.tries,
            label=label,
            comparison=_compare(trial, now, tolerance),
            ended_then=_ended(then),
            ended_now=_ended(now),
            same_end=_same_end(then, now),
            differences=differences(then, now),
            passed_over=then.passed_over,
            seconds=time.monotonic() - began,
            kept=scratch.root if keep else None,
        )


def _compare(trial: Replayable, now: Recorded, tolerance: float) -> Comparison:
    then, metrics = trial.recorded, trial.workload.metrics
    final: Iterator[Pair] = iter(())
    scores: Iterator[Pair] = iter(())
    if then.outcome is not None and now.outcome is not None:
        final = final_pairs(then.outcome.values(), now.outcome.values(), metrics)
        scores = _score_pairs(_scores(then), _scores(now))
    whole = then.outcome is not None
    rows = row_pairs(
        _compared_rows(then, then), _compared_rows(now, then), metrics,
        None if whole else then.last_step, then.elsewhere,
    )  # fmt: skip
    return compare(rows, final, scores, tolerance)


def _compared_rows(recorded: Recorded, then: Recorded) -> Mapping[tuple[int, str], float]:
    """A single attempt may have gone on from a checkpoint: rows from its first step on."""
    if then.tries > 1 or then.attempt == 0:
        return recorded.rows
    first = min((step for step, _ in then.rows), default=0)
    return {place: value for place, value in recorded.rows.items() if place[0] >= first}


Scores = Mapping[tuple[str, str, str], float | None]
"""(split, unit, column) -> score; units that share a name are told apart by a number."""


def _scores(recorded: Recorded) -> Scores:
    outcome = recorded.outcome
    if outcome is None or outcome.scores is None:
        return {}
    import pyarrow.parquet as pq

    table = pq.read_table(recorded.folder / outcome.scores)
    found: dict[tuple[str, str, str], float | None] = {}
    seen: dict[tuple[str, str], int] = {}
    for row in table.to_pylist():
        split, unit = row.pop("split"), row.pop("unit")
        row.pop("cluster")
        count = seen[split, unit] = seen.get((split, unit), 0) + 1
        unit = unit if count == 1 else f"{unit}#{count}"
        found.update({(split, unit, column): value for column, value in row.items()})
    return found


def _score_pairs(then: Scores, now: Scores) -> Iterator[Pair]:
    for place in sorted(then.keys() | now.keys()):
        split, unit, column = place
        yield Pair(f"{column} of {split} {unit}", None, then.get(place), now.get(place))


def _ended(recorded: Recorded) -> str:
    if recorded.outcome is not None:
        return "done"
    if recorded.end is None:
        return "its process died"
    failure = recorded.end.failure
    return f"{failure.kind}: {failure.cause}" if failure else recorded.end.state


def _same_end(then: Recorded, now: Recorded) -> bool:
    """Whether it ended as it did; what the machine or a person ended may end otherwise now."""
    if then.outcome is not None:
        return now.outcome is not None
    failed, fails = _failure(then), _failure(now)
    if failed is not None and failed.kind in _OF_THE_PROGRAM:
        return fails is not None and fails.kind == failed.kind
    return fails is None or fails.kind not in _OF_THE_PROGRAM


def _refuse_a_broken_replay(then: Recorded, now: Recorded) -> None:
    """A replay that the machine ended says nothing of the numbers. Raises `CannotReplay`."""
    if then.outcome is None or now.outcome is not None:
        return
    failure = _failure(now)
    if failure is None or failure.kind not in _OF_THE_PROGRAM:
        raise CannotReplay(
            f"{then.identity}: the replay broke off ({_ended(now)}). Try again; with --keep, "
            "output.txt in its folder tells more."
        )


def _failure(recorded: Recorded) -> Failure | None:
    return recorded.end.failure if recorded.end is not None and recorded.outcome is None else None
