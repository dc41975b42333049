"""`orrery verdict`."""

from __future__ import annotations

import errno
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson, Preset, Settings, parsed_settings, print_json

if TYPE_CHECKING:
    from orchestrator.outside import OutsideVerdict

OF_REPORTS = frozenset({"verdict.json", "endpoints.json", "claims.json"})
"""Files by which a folder is known to hold a report."""
LARGE_BYTES = 16 * 1024**2
"""A file that takes seconds for certain: that is said at once."""
SILENT_S = 2.0
"""So long nothing is said of a smaller one."""


def verdict(
    results: Annotated[
        str,
        typer.Argument(
            metavar="RESULTS",
            help="CSV, TSV, JSON lines or Parquet, .gz too; - is standard input.",
        ),
    ],
    rule: Annotated[
        Path,
        typer.Option(
            "--rule", metavar="RULE.yaml", help="A decision rule, a study file, or a shipped study."
        ),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="Where arm, seed, unit, cluster, score … stand, e.g. --column score=eval/f1.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|tsv|jsonl|parquet", help="\\[by RESULTS' ending]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write the report's files there too."),
    ] = None,
    preset: Preset = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """The verdict on results from anywhere: a table of scores, judged by a rule."""
    if out is not None:
        _refuse_place(out)
    with _told_while_it_takes(results):
        from orchestrator.outside import judge_file, read_rule

        asked = read_rule(rule, preset, parsed_settings(settings))
        found = judge_file(results, asked, column or (), format)
        files = _written(found, out)
    if as_json:
        print_json({**found.to_json(), "files": [str(path) for path in files]})
        return
    from rich.console import Console

    from orchestrator.report.terminal import render_answer

    Console(highlight=False).print(render_answer(found.verdict, found.findings))
    for path in files:
        typer.echo(str(path))


def _written(found: OutsideVerdict, out: Path | None) -> list[Path]:
    """All files of a report, or none: a disk that is full leaves what was there before."""
    if out is None:
        return []
    from tempfile import TemporaryDirectory

    _make(out)
    with TemporaryDirectory(prefix=".making-", dir=out) as fresh:
        made = found.write(Path(fresh), shlex.join(["orrery", *sys.argv[1:]]))
        return [path.replace(out / path.relative_to(fresh)) for path in made]


def _make(out: Path) -> None:
    """The folder. Raises `UsageError` where there can be none, `OSError` of a disk that refuses."""
    from orchestrator.errors import UsageError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise UsageError(
            f"--out '{out}' cannot be made: {error.strerror}. Give another folder."
        ) from error


def _refuse_place(out: Path) -> None:
    """Only a report is replaced by a report. Raises `UsageError`."""
    from orchestrator.errors import UsageError

    if out.exists() and not out.is_dir():
        raise UsageError(f"--out '{out}' is a file. Give a folder.")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and not there & OF_REPORTS:
        raise UsageError(
            f"--out '{out}' holds other files, and no report that could be replaced. Give a folder "
            "of its own."
        )


@contextmanager
def _told_while_it_takes(results: str) -> Iterator[None]:
    """What takes seconds, a large file or a busy machine, says so on standard error."""
    from rich.console import Console

    from orchestrator.report.rows import size_text

    path = Path(results)
    size = path.stat().st_size if path.is_file() else 0
    name = f"{results} ({size_text(size)})" if size else "standard input"
    words = f"reading and judging {name} …"
    console = Console(stderr=True, highlight=False)
    status = console.status(words)

    def tell() -> None:
        if console.is_terminal:
            status.start()
        else:
            typer.echo(words, err=True)

    waiting = threading.Timer(0.0 if size >= LARGE_BYTES else SILENT_S, tell)
    waiting.daemon = True
    waiting.start()
    try:
        yield
    finally:
        waiting.cancel()
        waiting.join()
        status.stop()
