"""Progress of a run: a live table in a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from orchestrator.planning import Plan
    from orchestrator.records import Failure, State

MOST_ROWS = 24


class Progress(AbstractContextManager["Progress"], Protocol):
    """Who shows how a run goes on."""

    def note(self, text: str) -> None: ...

    def started(self, arm: str, label: str) -> None: ...

    def reported(
        self, arm: str, label: str, step: int, metrics: Mapping[str, float | None]
    ) -> None: ...

    def ended(self, arm: str, label: str, state: State, value: float | None) -> None: ...

    def failed(self, arm: str, label: str, failure: Failure, again: bool) -> None: ...

    def measured(self, done: int, total: int, per_s: float) -> None:
        """Points: so many of so many, at so many a second."""


@dataclass
class _ArmRow:
    total: int = 0
    done: int = 0
    failed: int = 0
    running: dict[str, str] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)


class Tally:
    """Counts per arm, common to both ways of showing them."""

    def __init__(self, plan: Plan, metric: str | None, extra: int = 0) -> None:
        self.metric = metric
        self.rows: dict[str, _ArmRow] = {}
        self.began = time.monotonic()
        for item in plan.trials:
            row = self.rows.setdefault(item.trial.arm, _ArmRow())
            row.total += 1
            if item.record.outcome is not None and item.action != "run":
                row.done += 1
                value = item.record.outcome.values().get(metric) if metric else None
                if value is not None:
                    row.values.append(value)
        self.total = sum(row.total for row in self.rows.values()) + extra
        self.ran = 0
        self._first_s: float | None = None
        self.to_run = len(plan.to_run) + extra

    @property
    def done(self) -> int:
        return sum(row.done for row in self.rows.values())

    @property
    def failed(self) -> int:
        return sum(row.failed for row in self.rows.values())

    def row(self, arm: str) -> _ArmRow:
        return self.rows.setdefault(arm, _ArmRow())

    def finish(self, arm: str, label: str, value: float | None, state: State = "done") -> None:
        row = self.row(arm)
        row.running.pop(label, None)
        row.done += state not in ("failed", "cancelled")
        row.failed += state == "failed"
        self.ran += 1
        self._first_s = time.monotonic() if self._first_s is None else self._first_s
        if value is not None:
            row.values.append(value)

    def time_left(self) -> str:
        """`about 3 min left`, from the pace since the first trial was through, as workers start
        before it; empty until three are."""
        if self._first_s is None or self.ran < 3 or self.ran >= self.to_run:
            return ""
        since_s = time.monotonic() - self._first_s
        left_s = since_s / (self.ran - 1) * (self.to_run - self.ran)
        return f"about {duration(left_s)} left"


def duration(seconds: float) -> str:
    """`8 s`, `3 min 10 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def points_text(done: int, total: int, per_s: float) -> str:
    """`[120/4096] points, 310/s, about 13 s left`."""
    text = f"[{done}/{total}] points"
    if done and per_s > 0:
        text += f", {per_s:.3g}/s"
        if done < total:
            text += f", about {duration((total - done) / per_s)} left"
    return text


class Sparsely:
    """Says when a line is worth a place in a log: at every tenth part, and at the end."""

    def __init__(self) -> None:
        self._tenths = 0
        self._ended = False

    def is_due(self, done: int, total: int) -> bool:
        tenths = 10 * done // max(1, total)
        due = tenths > self._tenths or (done >= total and not self._ended)
        self._tenths, self._ended = max(tenths, self._tenths), self._ended or done >= total
        return due


class PlainProgress:
    """A line per event, for logs and pipes."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._console, self._tally = console, tally
        self._points = Sparsely()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def note(self, text: str) -> None:
        self._line(text)

    def started(self, arm: str, label: str) -> None:
        """Too much for a log."""

    def reported(
        self, arm: str, label: str, step: int, metrics: Mapping[str, float | None]
    ) -> None:
        """Too much for a log."""

    def ended(self, arm: str, label: str, state: State, value: float | None) -> None:
        self._tally.finish(arm, label, value, state)
        shown = f"  {self._tally.metric} {value:.2f}" if value is not None else ""
        self._line(f"{self._count()} {state} {arm}  {label}{shown}  {self._tally.time_left()}")

    def failed(self, arm: str, label: str, failure: Failure, again: bool) -> None:
        if not again:
            self._tally.finish(arm, label, None, "failed")
        what = "lost, will be tried again" if again else f"failed ({failure.kind})"
        self._line(f"{self._count()} {what}: {arm}  {label}: {failure.cause}")

    def measured(self, done: int, total: int, per_s: float) -> None:
        if self._points.is_due(done, total):
            self._line(points_text(done, total, per_s))

    def _count(self) -> str:
        return f"[{self._tally.done}/{self._tally.total}]"

    def _line(self, text: str) -> None:
        self._console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)


class LiveProgress:
    """A table that is drawn anew: an arm a row, with what runs now and the metric so far."""

    def __init__(self, console: Console, tally: Tally) -> None:
        from rich.live import Live

        self._console, self._tally = console, tally
        self._note = ""
        self._points: tuple[int, int, float] | None = None
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> LiveProgress:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._tally.ran or self._points:
            self._console.print(self.render())

    def note(self, text: str) -> None:
        self._note = text

    def started(self, arm: str, label: str) -> None:
        self._note = ""
        self._tally.row(arm).running[label] = "starting"

    def reported(
        self, arm: str, label: str, step: int, metrics: Mapping[str, float | None]
    ) -> None:
        self._tally.row(arm).running[label] = f"step {step}"

    def ended(self, arm: str, label: str, state: State, value: float | None) -> None:
        self._tally.finish(arm, label, value, state)

    def failed(self, arm: str, label: str, failure: Failure, again: bool) -> None:
        self._tally.row(arm).running.pop(label, None)
        if not again:
            self._tally.finish(arm, label, None, "failed")
        what = "lost, will be tried again" if again else f"failed ({failure.kind})"
        self._console.print(f"[red]{what}[/]: {arm}: ", failure.cause, highlight=False)

    def measured(self, done: int, total: int, per_s: float) -> None:
        self._points = (done, total, per_s)

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._tally
        table = Table(box=None, padding=(0, 1), header_style="bold")
        table.add_column("arm")
        table.add_column("done", justify="right")
        table.add_column("failed", justify="right")
        if tally.metric:
            table.add_column(f"mean {tally.metric}", justify="right")
        table.add_column("now", overflow="ellipsis", no_wrap=True)
        rows = sorted(tally.rows.items(), key=lambda item: not item[1].running)
        kept = {name for name, _ in rows[:MOST_ROWS]}
        for name, row in tally.rows.items():
            if name not in kept:
                continue
            mean = f"{sum(row.values) / len(row.values):.2f}" if row.values else "n/a"
            now = ", ".join(row.running.values())
            failed = Text(str(row.failed), style="red") if row.failed else "0"
            means = [mean] if tally.metric else []
            table.add_row(name, f"{row.done}/{row.total}", failed, *means, now)
        more = len(tally.rows) - len(kept)
        head = Table.grid(padding=(0, 1))
        elapsed = duration(time.monotonic() - tally.began)
        head.add_row(
            f"{tally.done}/{tally.total} trials",
            ProgressBar(total=max(1, tally.total), completed=tally.done, width=30),
            f"{elapsed}  {tally.time_left()}  {self._note}".rstrip(),
        )
        tail: list[RenderableType] = (
            [Text(f"… and {more} more arms", style="dim")] if more > 0 else []
        )
        if self._points is not None:
            done, total, per_s = self._points
            bar = ProgressBar(total=max(1, total), completed=done, width=30)
            points = Table.grid(padding=(0, 1))
            points.add_row("points", bar, points_text(done, total, per_s))
            tail.append(points)
        return Group(head, table, *tail)


def progress_for(
    console: Console, plan: Plan, metric: str | None, extra: int = 0
) -> LiveProgress | PlainProgress:
    """The live table in a terminal, lines elsewhere."""
    tally = Tally(plan, metric, extra)
    return LiveProgress(console, tally) if console.is_terminal else PlainProgress(console, tally)
