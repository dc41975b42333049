"""The commands. Each imports what it needs, so that `orrery --help` is instant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from orchestrator.cli import (
    calibrate,
    cancel,
    codec,
    export,
    logs,
    looking,
    new,
    publish,
    replay,
    report,
    running,
    upkeep,
    verdict,
    watch,
)

app = typer.Typer(
    name="orrery",
    help="Experiments on how models train: from a question to a verdict with controls and "
    "uncertainty.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"orrery {version('orrery')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _add(name: str, command: Callable[..., None]) -> None:
    """Its docstring is its help, each paragraph on one line: typer wraps only the first itself."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    app.command(name, help="\n\n".join(" ".join(one.split()) for one in paragraphs))(command)


_add("list", looking.list_studies)
app.add_typer(new.new, name="new")
_add("plan", looking.plan)
_add("calibrate", calibrate.calibrate)
_add("run", running.run)
_add("status", looking.status)
_add("watch", watch.watch)
_add("logs", logs.logs)
_add("retry", running.retry)
_add("cancel", cancel.cancel)
_add("trace", looking.trace)
_add("replay", replay.replay)
_add("report", report.report)
_add("verdict", verdict.verdict)
_add("export", export.export)
_add("publish", publish.publish)
_add("ui", upkeep.ui)
_add("encode", codec.encode)
_add("decode", codec.decode)
_add("inspect", codec.inspect)
_add("schema", looking.schema)
_add("doctor", upkeep.doctor)
_add("gc", upkeep.gc)
app.add_typer(upkeep.ledger, name="ledger")
