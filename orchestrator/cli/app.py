"""The commands. Each imports what it needs, so that `orrery --help` is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import (
    cancel,
    codec,
    export,
    logs,
    looking,
    publish,
    replay,
    running,
    upkeep,
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


app.command("list")(looking.list_studies)
app.command("plan")(looking.plan)
app.command("run")(running.run)
app.command("status")(looking.status)
app.command("watch")(watch.watch)
app.command("logs")(logs.logs)
app.command("retry")(running.retry)
app.command("cancel")(cancel.cancel)
app.command("trace")(looking.trace)
app.command("replay")(replay.replay)
app.command("report")(looking.report)
app.command("export")(export.export)
app.command("publish")(publish.publish)
app.command("ui")(upkeep.ui)
app.command("encode")(codec.encode)
app.command("decode")(codec.decode)
app.command("inspect")(codec.inspect)
app.command("schema")(looking.schema)
app.command("doctor")(upkeep.doctor)
app.command("gc")(upkeep.gc)
app.add_typer(upkeep.ledger, name="ledger")
