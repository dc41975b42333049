"""`orrery new`: a commented start of a study or of a workload."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

new = typer.Typer(help="A commented start: orrery new study NAME, orrery new workload NAME.")

Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


@new.callback(no_args_is_help=True)
def _new() -> None:
    pass


@new.command("study")
def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called, e.g. my-study.")],
    workload: Annotated[
        str | None,
        typer.Option(
            "--workload",
            metavar="W",
            help="A registered workload (orrery list), or package.module:Class \\[latent_lora].",
            show_default=False,
        ),
    ] = None,
    design: Annotated[
        str | None,
        typer.Option(
            "--design",
            metavar="KIND",
            help="configurations, grid, factorial, search or fractions \\[configurations].",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", metavar="STUDY", help="Begin with a copy of this shipped study instead."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to [NAME.yaml]."),
    ] = None,
    force: Force = False,
) -> None:
    """Write a study file with a comment on every part; it can be planned and run as it is."""
    import shlex

    from orchestrator.errors import UsageError
    from orchestrator.scaffolding import StudyRequest, new_study

    if like is not None and (workload or design):
        raise UsageError("--like copies a study with its workload and design: give it alone.")
    request = StudyRequest(name, workload, design or "configurations", like, out, force)
    made = new_study(request)
    typer.echo(f"{made.path} is written.")
    if made.missing:
        typer.echo(f"Fill in first, under base: {', '.join(made.missing)}.")
    file = shlex.quote(str(made.path))
    smoke = " --preset smoke" if made.smoke else ""
    typer.echo(f"  orrery plan {file}")
    typer.echo(f"  orrery run {file}{smoke}")


@new.command("workload")
def workload(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called, e.g. my_workload.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The folder to make [NAME].")
    ] = None,
    force: Force = False,
) -> None:
    """Write a folder with a workload that trains a small model, a study of it and its test."""
    import shlex

    from orchestrator.scaffolding import new_workload

    made = new_workload(name, out, force)
    typer.echo(f"{made.folder}/ is written.")
    typer.echo(f"  cd {shlex.quote(str(made.folder))}")
    typer.echo(f"  orrery run {made.study}")
    typer.echo("  pytest              # does it keep the contract of a workload?")
    typer.echo("  pip install -e .    # then orrery list shows it, from anywhere")
