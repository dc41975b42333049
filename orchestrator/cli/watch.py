"""`orrery watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.looking import publish_what_is_left
from orchestrator.cli.options import AsJson, HomeFolder, Preset, Settings, StudyName, known_study

if TYPE_CHECKING:
    from orchestrator.watching import Frame, Watcher


def watch(
    study: StudyName,
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, metavar="S", help="Look every S seconds.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a study from any shell, live: arms so far, what runs now, alerts. Ctrl-C leaves it.

    Ends with the verdict when the study is over. Not in a terminal: one line per change.
    """
    from orchestrator.watching import Watcher

    try:
        chosen = known_study(study, settings, preset, home)
        frame = _watch(Watcher(chosen), interval, once, as_json)
        if frame.over and not once:  # job arrays have nobody else to publish what they came to
            publish_what_is_left(chosen, chosen.plan())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if once or frame.state == "done" else 1)


def _watch(watcher: Watcher, interval: float, once: bool, as_json: bool) -> Frame:
    from rich.console import Console

    from orchestrator.watching.loop import watch_json, watch_lines, watch_live
    from orchestrator.watching.terminal import render_frame

    console = Console(highlight=False)
    if once:
        frame = watcher.look(whole=True)
        if as_json:
            import json

            typer.echo(json.dumps(frame.to_json(), ensure_ascii=False, allow_nan=False))
        else:
            console.print(render_frame(frame, console.width))
        return frame
    if as_json:
        return watch_json(watcher, typer.echo, interval)
    if console.is_terminal:
        return watch_live(watcher, console, interval)
    return watch_lines(watcher, console, interval)
