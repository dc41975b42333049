"""`orrery cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    AsJson,
    HomeFolder,
    Preset,
    Settings,
    load_study,
    print_json,
)

if TYPE_CHECKING:
    from orchestrator.cancellation import Cancellation
    from orchestrator.home import Home

MOST_SHOWN = 5


def cancel(
    name: Annotated[
        str,
        typer.Argument(metavar="STUDY|TRIAL", help="A study, one of its instances, or a trial."),
    ],
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for its end."),
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """End a study, or one trial of it, wherever it runs.

    What was done is kept: orrery run goes on with a study where it was left, and orrery retry also
    with a trial that was cancelled alone.

    Exit code 0: all of it has ended; 1: something has not yet.
    """
    from rich.console import Console

    from orchestrator.cancellation import cancel_study, cancel_trial
    from orchestrator.home import Home

    place = Home.find(home)
    instance = _study_named(place, name, settings, preset, home)
    with Console(stderr=True).status("") as status:
        if instance is not None:
            told = cancel_study(place, instance, status.update, wait)
        else:
            told = cancel_trial(place, _trial_named(place, name), status.update, wait)
    if as_json:
        print_json(told.to_json())
    else:
        _print(told)
    raise typer.Exit(0 if told.ended else 1)


def _print(told: Cancellation) -> None:
    of = f"trial {told.trial[:8]} of {told.study}" if told.trial else told.study
    typer.echo(f"{of}: {'; '.join(told.found)}")
    for line in told.did:
        typer.echo(f"  {line}")
    for line in told.left[:MOST_SHOWN]:
        typer.echo(f"  has not ended yet: {line}")
    if len(told.left) > MOST_SHOWN:
        typer.echo(f"  … and {len(told.left) - MOST_SHOWN} more")
    if told.left:
        typer.echo("What is left ends by itself as soon as it sees the file. Look again with:")
        typer.echo(f"  orrery cancel {told.trial or told.study}")
    elif told.did:
        again = "orrery retry" if told.trial else "orrery run"
        typer.echo(f"  all of it has ended; {again} goes on where it was left")


def _study_named(
    place: Home, name: str, settings: list[str] | None, preset: str | None, home: Path | None
) -> str | None:
    """The study instance that is meant; None if it is no study, so maybe a trial."""
    from orchestrator.errors import UsageError
    from orchestrator.study import shipped_studies

    if settings or preset is not None or name.endswith((".yaml", ".yml")):
        instance = load_study(name, settings, preset, home).instance
        if not place.study(instance).is_dir():
            raise UsageError(f"{instance} has never run in '{place.root}': nothing to cancel.")
        return instance
    if "/" not in name and (place.study(name) / "plan.json").is_file():
        return name
    named = [
        path.parent
        for path in place.studies.glob("*/plan.json")
        if path.parent.name.rpartition("-")[0] == name
    ]
    if not named:
        if name in shipped_studies():
            raise UsageError(f"{name} has never run in '{place.root}': nothing to cancel.")
        return None
    from cluster.slurm.records import JobRecords
    from orchestrator.driving import driver_at

    open_ = [f for f in named if driver_at(f) is not None or JobRecords(f).open()]
    if len(open_) > 1:
        raise UsageError(
            f"{len(open_)} instances of '{name}' run: {', '.join(sorted(f.name for f in open_))}. "
            "Say which."
        )
    newest = max(named, key=lambda folder: (folder / "plan.json").stat().st_mtime)
    return (open_ or [newest])[0].name


def _trial_named(place: Home, name: str) -> str:
    """As `find_trial`, and also a trial that has not begun. Raises `UsageError`, also for a start
    that is so short that a slip of the hand would end a trial."""
    from orchestrator.cancellation import trials_of
    from orchestrator.errors import UsageError
    from orchestrator.planning import SHORTEST_ID
    from orchestrator.tracing import find_trial

    if len(name) < SHORTEST_ID:
        raise UsageError(
            f"No study and no trial '{name}' in '{place.root}': give {SHORTEST_ID} digits or more "
            "of a trial's id. orrery list names studies."
        )
    try:
        return find_trial(place, name)
    except UsageError:
        planned = {
            identity
            for path in place.studies.glob("*/plan.json")
            for identity in trials_of(place, path.parent.name)
            if identity.startswith(name)
        }
        if len(planned) == 1:
            return planned.pop()
        if not planned:
            raise UsageError(
                f"No study and no trial '{name}' in '{place.root}'. orrery list names studies; "
                "orrery status STUDY --json lists ids of trials."
            ) from None
        raise UsageError(
            f"'{name}' is the start of {len(planned)} trials: {', '.join(sorted(planned)[:5])}. "
            "Give more of it."
        ) from None
