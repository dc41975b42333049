"""`orrery publish`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson, HomeFolder, To, print_json
from orchestrator.counted import counted

if TYPE_CHECKING:
    from orchestrator.restoring import Published


def publish(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]", help="A study that has run here; all of them if left out."
        ),
    ] = None,
    home: HomeFolder = None,
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Make MLflow, or another place for runs, anew from the files. Nothing is doubled."""
    from orchestrator.home import Home
    from orchestrator.publishing import place_of, sync_advice
    from orchestrator.restoring import publish_home

    place = Home.find(home).publishing_to(to)
    results = []
    try:
        with _progress() as tell:
            for result in publish_home(place, study, tell, waiting=_waiting):
                results.append(result)
                if not as_json:
                    for line in _lines(result):
                        typer.echo(line)
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing is doubled. The same command goes on.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        whole = sum(not result.left for result in results)
        typer.echo(f"{whole} of {len(results)} studies are whole in {place_of(place)}")
    advice = sync_advice(place)
    if advice:
        typer.echo(advice, err=True)
    raise typer.Exit(1 if any(result.left for result in results) else 0)


def _lines(result: Published) -> Iterator[str]:
    yield f"{result.study}: {counted(result.trials, 'trial')}, {counted(result.rows, 'row')}"
    if result.from_files is not None:
        yield f"  told from its files, since it cannot be planned: {result.from_files}"
    for trial, what in result.mended.items():
        yield f"  mended: {trial}: {what}"
    causes: dict[str, list[str]] = {}
    for what, why in (result.left or {}).items():
        causes.setdefault(" ".join(why.split())[:300], []).append(what)
    for why, left in causes.items():
        what = left[0] if len(left) == 1 else f"{len(left)} runs"
        yield f"  left: {what}: {why}"


def _waiting(study: str) -> None:
    typer.echo(f"{study}: another process is publishing it; waiting …", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A line that moves, in a terminal; nothing in a log: there each study has its line."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda study, done, of: None
        return
    with console.status("reading the home …") as status:
        yield lambda study, done, of: status.update(f"{study}: trial {done} of {of}")
