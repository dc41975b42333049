"""`orrery export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson, HomeFolder, Preset, Settings, print_json
from orchestrator.counted import counted

if TYPE_CHECKING:
    from rich.console import Console


def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL|STUDY",
            help="A study, or a trial's id, its start, label, or 'ARM seed N'.",
        ),
    ],
    settings: Settings = None,
    preset: Preset = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="parquet|jsonl", help="\\[by --out's ending, parquet]"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="PATH", help="A file; - is standard output (jsonl)."),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option("--tier", metavar="1,2,3", help="1 context, 2 metrics, 3 traces \\[all]."),
    ] = None,
    flat: Annotated[
        bool, typer.Option("--flat", help="Metrics in long form, a row for each value.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The events of all attempts and ranks as one file, a row each."""
    from rich.console import Console

    from orchestrator.cli.options import parsed_settings
    from orchestrator.exporting import export_events
    from orchestrator.report.rows import size_text

    console = Console(stderr=True, highlight=False)
    count = 0
    with _said_when_interrupted(console), console.status("reading …") as status:

        def told(rows: int) -> None:
            nonlocal count
            before, count = count, count + rows
            if before // 5000 != count // 5000:
                status.update(f"exporting: {count:,} rows")

        written = export_events(
            name,
            home,
            settings=parsed_settings(settings),
            preset=preset,
            format=format,
            out=out,
            tiers=_tiers(tier),
            flat=flat,
            force=force,
            told=told,
        )
    if as_json and written.path is not None:
        print_json(written.to_json())
    elif written.path is not None:
        size = size_text(written.path.stat().st_size)
        rows, trials = counted(written.rows, "row"), counted(written.trials, "trial")
        typer.echo(f"{written.path}: {rows} of {trials}, {size}")
    if written.hint is not None:
        typer.echo(written.hint, err=True)


@contextmanager
def _said_when_interrupted(console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print("Interrupted: no file was left half written.")
        raise typer.Exit(130) from None


def _tiers(text: str | None) -> list[int] | None:
    from orchestrator.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise UsageError(f"--tier '{text}' is no list of tiers. Give some of 1,2,3.")
    return [int(part) for part in parts]
