"""Progress of a run: a live table in a terminal, a line per event elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import fmean
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from orchestrator.planning import Plan
    from orchestrator.records import Failure, State

MOST_ROWS = 24
MOST_NAMED = 4
"""Running trials that a line of a log names."""
MEASURED_ARMS = 2
LONG_S = 120.0
"""Beside a trial that takes as long, the start of its worker does not count."""
SILENCE_S = 60.0
"""A log hears that a run goes on when nothing has happened for so long."""


class Progress(AbstractContextManager["Progress"], Protocol):
    """Who shows how a run goes on. `name` tells a trial from the others of its arm."""

    def note(self, text: str) -> None: ...

    def started(self, arm: str, name: str) -> None: ...

    def reported(
        self, arm: str, name: str, step: int, metrics: Mapping[str, float | None]
    ) -> None: ...

    def ended(self, arm: str, name: str, state: State, value: float | None) -> None: ...

    def failed(self, arm: str, name: str, failure: Failure, again: bool) -> None: ...

    def measured(self, done: int, total: int, per_s: float) -> None:
        """Points: so many of so many, at so many a second."""


@dataclass
class _Running:
    """A trial that runs: what it has told last, and when it was handed out."""

    now: str
    since_s: float
    starts_worker: bool
    """Its worker starts with it, which takes seconds that no later trial takes."""


@dataclass
class _ArmRow:
    total: int = 0
    to_run: int = 0
    """Trials of it that this run has still to end."""
    done: int = 0
    failed: int = 0
    running: dict[str, _Running] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    """Of its trials that ended in this run, but for those that say more of a worker's start."""


class Tally:
    """Counts per arm, common to all ways of showing them."""

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
        for item in plan.to_run:
            self.rows[item.trial.arm].to_run += 1
        self.total = sum(row.total for row in self.rows.values()) + extra
        self.ran = 0
        self.to_run = len(plan.to_run) + extra
        self._most_running = 0

    @property
    def done(self) -> int:
        return sum(row.done for row in self.rows.values())

    @property
    def failed(self) -> int:
        return sum(row.failed for row in self.rows.values())

    def row(self, arm: str) -> _ArmRow:
        return self.rows.setdefault(arm, _ArmRow())

    def start(self, arm: str, name: str) -> None:
        self.row(arm).running[name] = _Running("starting", time.monotonic(), self.ran == 0)
        running = sum(len(row.running) for row in self.rows.values())
        self._most_running = max(self._most_running, running)

    def report(self, arm: str, name: str, step: int) -> None:
        if (running := self.row(arm).running.get(name)) is not None:
            running.now = f"step {step}"

    def lose(self, arm: str, name: str) -> None:
        """It will be tried again."""
        self.row(arm).running.pop(name, None)

    def finish(self, arm: str, name: str, value: float | None, state: State = "done") -> None:
        row = self.row(arm)
        running = row.running.pop(name, None)
        row.done += state not in ("failed", "cancelled")
        row.failed += state == "failed"
        row.to_run = max(0, row.to_run - 1)
        self.ran += 1
        if running is not None and state == "done":
            took_s = time.monotonic() - running.since_s
            if took_s >= LONG_S or not running.starts_worker:
                row.took_s.append(took_s)
        if value is not None:
            row.values.append(value)

    def time_left(self) -> str:
        """`about 3 min 10 s left`, from what trials of each arm take and how many run at once;
        `at least` while some arm has not ended any, which then counts as the quickest; empty until
        two arms (or the only one) have."""
        left = self.to_run - self.ran
        means = {arm: fmean(row.took_s) for arm, row in self.rows.items() if row.took_s}
        open_arms = [arm for arm, row in self.rows.items() if row.to_run]
        if left <= 0 or len(means) < min(MEASURED_ARMS, len({*means, *open_arms})):
            return ""
        quickest, now = min(means.values()), time.monotonic()
        listed = sum(self.rows[arm].to_run for arm in open_arms)
        work_s = max(0, left - listed) * quickest  # what a search has still to propose
        for arm in open_arms:
            row, mean = self.rows[arm], means.get(arm, quickest)
            begun_s = sum(min(mean, now - one.since_s) for one in row.running.values())
            work_s += max(0.0, row.to_run * mean - begun_s)
        left_s = work_s / max(1, min(self._most_running, left))
        known = listed >= left and all(arm in means for arm in open_arms)
        return f"{'about' if known else 'at least'} {duration(left_s)} left"


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
    """A line per event with the time of day, for logs and pipes, and one where nothing has happened
    for `silence_s`."""

    def __init__(self, console: Console, tally: Tally, silence_s: float = SILENCE_S) -> None:
        self._console, self._tally, self._silence_s = console, tally, silence_s
        self._points = Sparsely()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._told_at_s = time.monotonic()
        self._thread = threading.Thread(target=self._break_silences, daemon=True)

    def __enter__(self) -> PlainProgress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def note(self, text: str) -> None:
        self._line(text)

    def started(self, arm: str, name: str) -> None:
        with self._lock:
            self._tally.start(arm, name)

    def reported(self, arm: str, name: str, step: int, metrics: Mapping[str, float | None]) -> None:
        with self._lock:
            self._tally.report(arm, name, step)

    def ended(self, arm: str, name: str, state: State, value: float | None) -> None:
        with self._lock:
            self._tally.finish(arm, name, value, state)
            shown = f"  {self._tally.metric} {value:.2f}" if value is not None else ""
            self._line(f"{self._count()} {state} {arm} {name}{shown}  {self._tally.time_left()}")

    def failed(self, arm: str, name: str, failure: Failure, again: bool) -> None:
        with self._lock:
            if again:
                self._tally.lose(arm, name)
            else:
                self._tally.finish(arm, name, None, "failed")
            what = "lost, will be tried again" if again else f"failed ({failure.kind})"
            self._line(f"{self._count()} {what}: {arm} {name}: {failure.cause}")

    def measured(self, done: int, total: int, per_s: float) -> None:
        if self._points.is_due(done, total):
            self._line(points_text(done, total, per_s))

    def _break_silences(self) -> None:
        wait_s = self._silence_s
        while not self._over.wait(wait_s):
            with self._lock:
                silent_s = time.monotonic() - self._told_at_s
                if silent_s >= self._silence_s and (text := self._running()):
                    left = self._tally.time_left()
                    self._line(f"{self._count()} {text}{f'; {left}' if left else ''}")
                    silent_s = 0.0
            wait_s = self._silence_s - min(silent_s, self._silence_s / 2)

    def _running(self) -> str:
        """`running: wide seed 3 (1f2b72c4) step 40 and 3 more`; empty if nothing runs."""
        running = [
            f"{arm} {name} {one.now}"
            for arm, row in self._tally.rows.items()
            for name, one in row.running.items()
        ]
        more = f" and {len(running) - MOST_NAMED} more" if len(running) > MOST_NAMED else ""
        return f"running: {', '.join(running[:MOST_NAMED])}{more}" if running else ""

    def _count(self) -> str:
        return f"[{self._tally.done}/{self._tally.total}]"

    def _line(self, text: str) -> None:
        with self._lock:
            self._told_at_s = time.monotonic()
            line = f"{time.strftime('%H:%M:%S')} {text.rstrip()}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


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

    def started(self, arm: str, name: str) -> None:
        self._note = ""
        self._tally.start(arm, name)

    def reported(self, arm: str, name: str, step: int, metrics: Mapping[str, float | None]) -> None:
        self._tally.report(arm, name, step)

    def ended(self, arm: str, name: str, state: State, value: float | None) -> None:
        self._tally.finish(arm, name, value, state)

    def failed(self, arm: str, name: str, failure: Failure, again: bool) -> None:
        from rich.text import Text

        if again:
            self._tally.lose(arm, name)
        else:
            self._tally.finish(arm, name, None, "failed")
        what = "lost, will be tried again" if again else f"failed ({failure.kind})"
        told = Text.assemble((what, "red"), f": {arm} {name}: {failure.cause}")
        self._console.print(told, highlight=False)

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
            now = ", ".join(one.now for one in row.running.values())
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


def progress_for(console: Console, plan: Plan, metric: str | None, extra: int = 0) -> Progress:
    """The live table in a terminal, one that is drawn anew in a notebook, lines elsewhere."""
    tally = Tally(plan, metric, extra)
    if console.is_jupyter:
        from orchestrator.notebook import NotebookProgress

        return NotebookProgress(tally)
    return LiveProgress(console, tally) if console.is_terminal else PlainProgress(console, tally)
