"""`orrery run` and `orrery retry`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import (
    AsJson,
    HomeFolder,
    On,
    Only,
    Preset,
    Settings,
    StudyName,
    To,
    known_study,
    load_study,
    print_json,
)
from orchestrator.run_words import ALL_ARMS, RunOptions

if TYPE_CHECKING:
    from orchestrator.running import RunReport
    from orchestrator.study import Study

Detach = Annotated[
    bool,
    typer.Option("--detach", help="Go on when this shell closes, and return once it has begun."),
]


def run(
    study: StudyName,
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    on: On = "local",
    detach: Detach = False,
    only: Only = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most N trials.")
    ] = None,
    again: Annotated[
        list[str] | None,
        typer.Option(
            "--again",
            metavar="ARM",
            help=f"Run known trials of ARM again, keeping the old outcomes; '{ALL_ARMS}' for all.",
            show_default=False,
        ),
    ] = None,
    same_code: Annotated[
        bool, typer.Option("--same-code", help="Known under other source code does not count.")
    ] = False,
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Run what is missing of a study, then give its verdict. Running again resumes."""
    everything = again is not None and ALL_ARMS in again
    options = RunOptions(
        only=tuple(only or ()),
        limit=limit,
        again=True if everything else tuple(again or ()) or False,
        same_code=same_code,
        to=to,
    )
    _go(load_study(study, settings, preset, home), on, options, detach, as_json)


def retry(
    study: StudyName,
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    on: On = "local",
    detach: Detach = False,
    only: Only = None,
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Run the failed trials of a study again (and what else is missing)."""
    options = RunOptions(only=tuple(only or ()), retry=True, to=to)
    _go(known_study(study, settings, preset, home), on, options, detach, as_json)


def _go(study: Study, on: str, options: RunOptions, detach: bool, as_json: bool) -> None:
    from orchestrator.running import place_of_run

    place = place_of_run(on)
    if place.runs_elsewhere:
        from rich.console import Console

        from orchestrator.elsewhere import run_elsewhere

        console = Console(stderr=True, highlight=False)
        raise typer.Exit(run_elsewhere(study, place, options, console, detach))
    if detach:
        from orchestrator.cli.detached import run_detached

        raise typer.Exit(run_detached(study, place, options, as_json))
    _run(study, on, options, as_json)


def _run(study: Study, on: str, options: RunOptions, as_json: bool) -> None:
    from rich.console import Console

    from orchestrator.running import run_study

    console = Console(stderr=True, highlight=False)
    try:
        result = run_study(study, on=on, console=console, **options.keywords)
    except KeyboardInterrupt:
        console.print("Interrupted: nothing is lost. The same command goes on.")
        raise typer.Exit(130) from None
    if as_json:
        print_json(_json(result))
    else:
        _print(result, console)
    raise typer.Exit(result.exit_code)


def _json(result: RunReport) -> dict[str, Any]:
    return {
        "study": result.study.instance,
        "ran": result.ran,
        "measured": result.measured,
        "points_left": dict(result.points_left),
        "counts": result.plan.counts,
        "interrupted": result.interrupted,
        "cancelled": result.cancelled,
        "seconds": round(result.seconds, 1),
        "report": str(result.report.folder),
        "verdict": result.verdict.to_json() if result.verdict else None,
        **result.report.findings.to_json(),
    }


def _print(result: RunReport, console: Any) -> None:
    from rich.console import Console

    from orchestrator.cli.points_text import left_lines, points_lines
    from orchestrator.progress import duration
    from orchestrator.publishing import place_of, reproduce_command
    from orchestrator.report.terminal import render_answer

    plan, out = result.plan, Console(highlight=False)
    if result.verdict is not None or result.report.findings:
        out.print(render_answer(result.verdict, result.report.findings))
    for problem in result.report.problems:
        console.print(f"note: {problem}", markup=False)
    if result.telemetry_left:
        why = next(iter(result.telemetry_left.values())).splitlines()[0][:160]
        count = len(result.telemetry_left)
        place = place_of(result.study.home)
        told = f"{place} lacks {count} runs for now ({why}); nothing is lost (orrery publish)."
        console.print(told, markup=False)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(plan.counts.items()))
    spent = duration(result.seconds)
    console.print(f"{result.study.instance}: {counts}; {result.ran} ran now, in {spent}")
    for item in plan.trials:
        if item.state == "failed" and item.record.failure is not None:
            failure = item.record.failure
            console.print(
                f"failed: {item.trial.arm} seed {item.trial.seed}: {failure.kind}: {failure.cause} "
                f"(orrery trace {item.trial.identity[:8]})",
                markup=False,
            )
    for line in (*points_lines(result.plan), *left_lines(result.points_left)):
        console.print(line, markup=False, soft_wrap=True)
    if result.interrupted:
        console.print(
            f"Interrupted: nothing is lost. Go on with: {reproduce_command(result.study)}",
            markup=False,
            soft_wrap=True,
        )
    if result.cancelled:
        console.print(
            "Cancelled (orrery cancel): nothing is lost. Go on with: "
            f"{reproduce_command(result.study)}",
            markup=False,
            soft_wrap=True,
        )
    if (page := Path(result.report.folder) / "report.html").exists():
        console.print(f"report: {page}", soft_wrap=True)
