"""The loop of `orrery watch`: a live frame in a terminal, lines in a log, objects for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator.watching.frame import Frame
from orchestrator.watching.lines import ChangeLines
from orchestrator.watching.terminal import render_frame
from orchestrator.watching.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL_S = 1.0


def frames(watcher: Watcher, interval_s: float) -> Iterator[Frame]:
    """A frame now and every `interval_s`, up to the one that finds the study over."""
    while True:
        began = time.monotonic()
        frame = watcher.look()
        yield frame
        if frame.over:
            return
        time.sleep(max(0.0, interval_s - (time.monotonic() - began)))


def watch_live(watcher: Watcher, console: Console, interval_s: float) -> Frame:
    """Draws the frame anew until the study is over; its last frame stays on the screen."""
    from rich.live import Live

    frame = watcher.look()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for frame in frames(watcher, interval_s):
            live.update(render_frame(frame, console.width, console.height), refresh=True)
    console.print(render_frame(frame, console.width))
    return frame


def watch_lines(watcher: Watcher, console: Console, interval_s: float) -> Frame:
    """One line per change, as in a log; the verdict's answer last."""
    lines = ChangeLines()
    for frame in frames(watcher, interval_s):
        for line in lines.of(frame):
            console.print(
                f"{time.strftime('%H:%M:%S')} {line}", markup=False, highlight=False, soft_wrap=True
            )
    if frame.answer is not None:
        console.print(frame.answer, markup=False, highlight=False, soft_wrap=True)
    return frame


def watch_json(watcher: Watcher, tell: Callable[[str], object], interval_s: float) -> Frame:
    """One JSON object a line for every look."""
    for frame in frames(watcher, interval_s):
        tell(json.dumps(frame.to_json(), ensure_ascii=False, allow_nan=False))
    return frame
