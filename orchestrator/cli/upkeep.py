"""Commands around the studies: ui, doctor, gc, ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, HomeFolder, On, known_study, print_json

ledger = typer.Typer(name="ledger", help="The index over the trials' files.", no_args_is_help=True)


def ui(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]", help="Open on the runs of this study.", show_default=False
        ),
    ] = None,
    home: HomeFolder = None,
    port: Annotated[int, typer.Option("--port", help="The next free one is taken.")] = 5000,
    opens: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open a browser; by default where there is one, at a terminal.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """MLflow's pages on this home, on the loopback address."""
    from rich.console import Console

    from orchestrator.browsing import serve

    asked = known_study(study, None, None, home) if study is not None else None
    raise typer.Exit(serve(home, asked, port, Console(), opens))


def doctor(
    home: HomeFolder = None,
    on: On = "local",
    model: Annotated[
        str | None, typer.Option("--model", help="Load this model and look at it instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What this machine has: Python, CPUs, GPUs, Ray, MLflow, SLURM, disk.

    With --on what is found at that place: whether runs there would be accepted. With --model
    whether a model is whole, reads text, and where oscillators can be joined to it.
    """
    from orchestrator.cli.wrapping import labelled
    from orchestrator.doctor import examine_model, examine_place
    from orchestrator.errors import UsageError

    if model is not None and on != "local":
        raise UsageError(f"--model loads the model here: leave out --on {on}")
    if model is not None:
        typer.echo("loading the model and reading with it, which may take a minute …", err=True)
    findings = []
    for finding in examine_place(on, home) if model is None else examine_model(model):
        findings.append(finding)
        if not as_json:
            mark = {True: "ok  ", False: "FAIL", None: "    "}[finding.ok]
            typer.echo(labelled(f"{mark} {finding.what}", 22, finding.found))
    if as_json:
        print_json([{"what": f.what, "ok": f.ok, "found": f.found} for f in findings])
    raise typer.Exit(1 if any(finding.ok is False for finding in findings) else 0)


def gc(
    home: HomeFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free disk: checkpoints of finished trials, leavings of dead attempts. Results stay."""
    from orchestrator.retention import collect_garbage

    freed = collect_garbage(home, dry_run=dry_run)
    if as_json:
        print_json({"freed_bytes": freed.bytes, "removed": [str(path) for path in freed.paths]})
        return
    verb = "would free" if dry_run else "freed"
    typer.echo(f"{verb} {freed.bytes / 2**20:.1f} MiB in {len(freed.paths)} folders")


@ledger.command("rebuild")
def rebuild(home: HomeFolder = None) -> None:
    """Make the index anew from the files."""
    from orchestrator.home import Home
    from orchestrator.ledger import Ledger

    place = Home.find(home).writable()
    typer.echo(f"{Ledger(place).rebuild()} finished trials in {place.ledger}")


@ledger.command("verify")
def verify(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Compare files and index; exit code 1 if anything is wrong."""
    from orchestrator.home import Home
    from orchestrator.ledger import Ledger

    problems = list(Ledger(Home.find(home)).verify())
    if as_json:
        print_json({"problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{len(problems)} problems")
    raise typer.Exit(1 if problems else 0)
