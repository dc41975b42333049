"""A study as a log: one line per change, and a summary now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator.progress import Sparsely, duration
from orchestrator.verdict.numbers import shown, signed
from orchestrator.watching.arms import NOT_A_VERDICT
from orchestrator.watching.frame import Change, Frame

SUMMARY_EVERY_S = 60.0
BEST_SHOWN = 3


class ChangeLines:
    """Turns frames into lines: trials that started, ended, failed, and new alerts, as they come; a
    summary first, every `summary_s`, at every tenth of the points, and when the study's state
    changes."""

    def __init__(self, summary_s: float = SUMMARY_EVERY_S) -> None:
        self._summary_s = summary_s
        self._summed_at: float | None = None
        self._state: str | None = None
        self._told: set[tuple[str | None, str, str]] = set()
        self._points = Sparsely()

    def of(self, frame: Frame) -> Iterator[str]:
        """The lines that this frame adds."""
        first = self._summed_at is None
        if first:
            yield self._summary(frame)
        for change in frame.changes:
            yield change_line(change, frame)
        told = {(change.identity, change.state) for change in frame.changes}
        for notice in frame.notices:
            if notice.arm is not None and not frame.over:
                continue  # counted once no more come
            key = (notice.identity, notice.kind, notice.text)
            if key in self._told:
                continue
            self._told.add(key)
            state = {"failed": "failed", "lost": "preempted"}.get(notice.kind)
            if (notice.identity, state) not in told:
                yield f"{notice.level}: {notice.text}"
        due = time.monotonic() - (self._summed_at or 0.0) >= self._summary_s
        points = frame.points
        moved = points is not None and self._points.is_due(points.settled, points.asked)
        if not first and (due or moved or frame.state != self._state):
            yield self._summary(frame)

    def _summary(self, frame: Frame) -> str:
        self._summed_at, self._state = time.monotonic(), frame.state
        return summary_line(frame)


def change_line(change: Change, frame: Frame) -> str:
    """`done better seed 1: f1 55.2 in 12 s`."""
    where = f"{change.arm} seed {change.seed}"
    if change.state == "running":
        again = f", attempt {change.attempt}" if change.attempt else ""
        return f"started {where}{again} ({change.identity[:8]})"
    text = f"{change.state} {where}"
    if change.cause:
        return f"{text}: {change.cause} (orrery trace {change.identity[:8]})"
    if change.state == "done" and frame.metric:
        text += f": {frame.metric} {shown(change.value, frame.places)}"
    return text + (f" in {duration(change.seconds)}" if change.seconds is not None else "")


def summary_line(frame: Frame) -> str:
    """`running: 3/4 done, 1 running; about 12 s left; f1 so far: better +5.1 (not a verdict)`."""
    parts = [f"{frame.state}: {counts_text(frame)}"]
    parts += [frame.points.text] if frame.points is not None else []
    if frame.left_s is not None and frame.state == "running":
        parts.append(f"about {duration(frame.left_s)} left")
    sign = 1 if frame.direction == "higher" else -1
    best_first = sorted(
        (arm for arm in frame.arms if arm.difference is not None and arm.role == "arm"),
        key=lambda arm: -sign * (arm.difference or 0.0),
    )
    if best_first and not frame.over:
        text = ", ".join(
            f"{a.arm} {signed(a.difference, frame.places)}" for a in best_first[:BEST_SHOWN]
        )
        more = len(best_first) - BEST_SHOWN
        text += f" and {more} more" if more > 0 else ""
        parts.append(f"{frame.metric} against {frame.comparator}: {text} ({NOT_A_VERDICT})")
    return "; ".join(parts)


def counts_text(frame: Frame) -> str:
    """`3/4 done, 1 running, 2 failed`; what there is none of is left out."""
    known = frame.counts
    done = known.get("done", 0) + known.get("pruned", 0)
    others = [f"{count} {state}" for state in ("running", "failed", "preempted", "cancelled")
              if (count := known.get(state, 0))]  # fmt: skip
    return ", ".join([f"{done}/{frame.planned} done", *others])
