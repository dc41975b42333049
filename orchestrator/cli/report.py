"""`orrery report`: the verdict in the terminal, as a page, as tables, as JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    AsJson,
    HomeFolder,
    Preset,
    Settings,
    StudyName,
    known_study,
    print_json,
)

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.reporting import StudyReport
    from orchestrator.study import Study


def report(
    study: StudyName,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help="With --csv: arms, trials, scores, or another of the report's tables.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    as_html: Annotated[
        bool, typer.Option("--html", help="Write one page with interactive plots, print its path.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="With --html: where (else the study's folder)."),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a table: arms, or the one that is named.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The verdict, with tables and plots as Markdown, CSV and HTML."""
    from orchestrator.reporting import report_study

    _refuse_together(as_html, as_csv, as_json, table, out)
    chosen = known_study(study, settings, preset, home)
    made = chosen.plan()
    written = report_study(chosen, made)
    if written.verdict is None and not written.findings:
        from orchestrator.judging import verdict_of

        verdict_of(chosen, made)  # says what is missing
        return
    _say_what_is_missing(chosen, made, written)
    if as_csv:
        from orchestrator.report_tables import table_lines

        for line in table_lines(chosen, made, written, table):
            sys.stdout.write(line)
    elif as_json:
        told = written.verdict.to_json() if written.verdict is not None else {}
        files = [str(path) for path in written.files]
        print_json({**told, **written.findings.to_json(), "files": files})
    elif as_html:
        from orchestrator.report_page import write_page

        typer.echo(str(write_page(chosen, made, written, out)))
    else:
        _print(written)


def _refuse_together(
    as_html: bool, as_csv: bool, as_json: bool, table: str | None, out: Path | None
) -> None:
    from orchestrator.errors import UsageError

    forms = {"--html": as_html, "--csv": as_csv, "--json": as_json}
    given = [name for name, on in forms.items() if on]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are two forms of one report: give one of them.")
    if table is not None and not as_csv:
        raise UsageError(
            f"'{table}' would name a table, which --csv prints: orrery report STUDY --csv {table}"
        )
    if out is None:
        return
    if not as_html:
        raise UsageError("--out is for --html: orrery report STUDY --html --out FILE")
    if out.is_dir():
        raise UsageError(f"--out '{out}' is a folder. Name a file in it: {out / 'report.html'}")


def _say_what_is_missing(study: Study, made: Plan, written: StudyReport) -> None:
    """Beside what machines read: trials that are not there yet, and pictures that failed."""
    from orchestrator.counted import counted
    from orchestrator.publishing import reproduce_command

    states = [item.record.outcome is not None for item in made.trials]
    missing = len(states) - sum(states)
    if missing:
        failed = sum(item.state == "failed" for item in made.trials)
        others = f", {failed} of them failed" if failed else ""
        typer.echo(
            f"note: {counted(missing, 'trial')} of {len(states)} have no result{others}. "
            f"Go on with: {reproduce_command(study)}",
            err=True,
        )
    for problem in written.problems:
        typer.echo(f"note: {problem}", err=True)


def _print(written: StudyReport) -> None:
    from rich.console import Console

    from orchestrator.report.terminal import render_answer

    out = Console(highlight=False)
    out.print(render_answer(written.verdict, written.findings))
    for path in written.files:
        if path.suffix in (".html", ".md", ".csv", ".png"):
            typer.echo(str(path))
