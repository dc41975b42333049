"""`orrery replay`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, HomeFolder, print_json


def replay(
    trial: Annotated[
        str, typer.Argument(help="Its id, the start of it, its label, or 'ARM seed N'.")
    ],
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=0, metavar="N", help="Only this attempt \\[all together]."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0.0, metavar="REL", help="Relative difference allowed."),
    ] = 0.0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the files of the replay, and say where.")
    ] = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Run a trial again from its record and compare every metric at every step.

    Exit codes: 0 identical or within the tolerance, 1 parted, 2 it cannot be replayed.
    """
    from rich.console import Console

    from orchestrator.replaying import replay_trial

    console = Console(stderr=True, highlight=False)
    try:
        with console.status("reading the record …") as status:
            said = False

            def told(label: str, step: int, last: int) -> None:
                nonlocal said
                text = f"replaying {label}: step {step} of {last}"
                if console.is_terminal:
                    status.update(text)
                elif not said:
                    console.print(f"replaying {label}, {last} steps", soft_wrap=True)
                said = True

            result = replay_trial(
                trial, home, attempt=attempt, tolerance=tolerance, keep=keep, told=told
            )
    except KeyboardInterrupt:
        console.print("Interrupted: the replay is ended, and its files are removed.")
        raise typer.Exit(130) from None
    if as_json:
        print_json(result.to_json())
    else:
        typer.echo(result.text())
    raise typer.Exit(result.exit_code)
