"""A run's progress below a notebook's cell: one table that is drawn anew in its place.

It needs no widgets: IPython updates a display by its id, as Jupyter, VS Code and Colab all can, and
what is saved with the notebook is the last state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestrator.progress import MOST_ROWS, Tally, duration, points_text
from orchestrator.report.tables_html import table_html

if TYPE_CHECKING:
    from orchestrator.records import Failure, State

EVERY_S = 0.5
"""Trials report more often than anybody reads."""


class NotebookProgress:
    """Shows a tally; to be used as any `Progress`."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._note = ""
        self._points = ""
        self._told: list[str] = []
        self._handle: Any = None
        self._drawn_s = 0.0

    def __enter__(self) -> NotebookProgress:
        from IPython.display import display

        shown = display(self._bundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        self._handle = shown
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._note = "" if error is None else "interrupted"
        self._draw(now=True)

    def note(self, text: str) -> None:
        self._note = text
        self._draw(now=True)

    def started(self, arm: str, name: str) -> None:
        self._note = ""
        self._tally.start(arm, name)
        self._draw()

    def reported(self, arm: str, name: str, step: int, metrics: Mapping[str, float | None]) -> None:
        self._tally.report(arm, name, step)
        self._draw()

    def ended(self, arm: str, name: str, state: State, value: float | None) -> None:
        self._tally.finish(arm, name, value, state)
        self._draw()

    def failed(self, arm: str, name: str, failure: Failure, again: bool) -> None:
        if again:
            self._tally.lose(arm, name)
        else:
            self._tally.finish(arm, name, None, "failed")
        what = "lost, will be tried again" if again else f"failed ({failure.kind})"
        self._told.append(f"{what}: {arm} {name}: {failure.cause}")
        self._draw(now=True)

    def measured(self, done: int, total: int, per_s: float) -> None:
        self._points = points_text(done, total, per_s)
        self._draw()

    def _draw(self, now: bool = False) -> None:
        if now or time.monotonic() - self._drawn_s >= EVERY_S:
            self._drawn_s = time.monotonic()
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        """By MIME type: for front ends that show HTML, and for those that do not."""
        head = self._head()
        lines = "".join(f"<p>{escape(line)}</p>" for line in (self._points, *self._told) if line)
        bar = (
            f'<progress value="{self._tally.done}" max="{max(1, self._tally.total)}" '
            f'aria-label="trials done"></progress>'
        )
        return {
            "text/html": f"<p>{bar} {escape(head)}</p>{self._table()}{lines}",
            "text/plain": "\n".join([head, *filter(None, (self._points, *self._told))]),
        }

    def _head(self) -> str:
        tally = self._tally
        spent = duration(time.monotonic() - tally.began)
        parts = (f"{tally.done}/{tally.total} trials", spent, tally.time_left(), self._note)
        return ", ".join(part for part in parts if part)

    def _table(self) -> str:
        tally = self._tally
        names = sorted(tally.rows, key=lambda name: not tally.rows[name].running)[:MOST_ROWS]
        head = ["arm", "done", "failed", *([f"mean {tally.metric}"] if tally.metric else []), "now"]
        rows = []
        for name, row in tally.rows.items():
            if name not in names:
                continue
            mean = f"{sum(row.values) / len(row.values):.2f}" if row.values else "n/a"
            now = ", ".join(one.now for one in row.running.values())
            means = [mean] if tally.metric else []
            rows.append([name, f"{row.done}/{row.total}", str(row.failed), *means, now])
        more = len(tally.rows) - len(names)
        caption = f"Arms ({more} more are not shown)" if more else "Arms"
        return table_html(caption, head, rows, numbers=set(range(1, len(head) - 1)))
