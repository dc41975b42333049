"""`orrery calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    AsJson,
    HomeFolder,
    Preset,
    Settings,
    StudyName,
    load_study,
    print_json,
)

if TYPE_CHECKING:
    from orchestrator.calibration.calibrating import Told
    from orchestrator.calibration.result import Calibration, PartResult, Rate

QUARTERS = 4
"""How often progress is told where there is no terminal."""


def calibrate(
    study: StudyName,
    settings: Settings = None,
    preset: Preset = None,
    studies: Annotated[
        int, typer.Option("--studies", min=100, metavar="N", help="Simulated studies a cell.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random numbers.")] = 0,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Simulate the study's decision rule on data with a known answer: how often it errs.

    Ends with 0 if the rule passes, and with 1 if it does not.
    """
    from orchestrator.calibration.calibrating import calibrate as simulate
    from orchestrator.calibration.written import write_calibration
    from orchestrator.cli.long_work import told_in_one_line

    asked = load_study(study, settings, preset, home)
    asked.home.writable()
    with told_in_one_line(None), _progress(as_json) as told:
        found = simulate(asked, studies, seed, told=told)
    if as_json:
        print_json(found.to_json())
    else:
        for line in _lines(found):
            typer.echo(line)
    folder = write_calibration(asked, found)  # told before: a full disk loses nothing
    if not as_json:
        typer.echo(f"Files: {folder}")
    raise typer.Exit(0 if found.passes else 1)


@contextmanager
def _progress(quiet: bool) -> Iterator[Told]:
    """A bar on a terminal; elsewhere a line now and then."""
    from rich.console import Console

    from orchestrator.cli.long_work import progress_bar

    if quiet or Console(stderr=True).is_terminal:
        with progress_bar("simulating", quiet) as bar:
            yield bar
        return

    def line(what: str, done: int, total: int) -> None:
        if done * QUARTERS // total > (done - 1) * QUARTERS // total:
            typer.echo(f"simulating {what}: {done} of {total} chunks", err=True)

    yield line


def _lines(found: Calibration) -> Iterator[str]:
    from orchestrator.calibration.words import rate_words

    yield f"{found.study}, rule {found.rule or 'n/a'}: {found.studies:,} simulated studies a cell"
    for part in found.parts:
        yield ""
        yield from _part_lines(part)
    yield ""
    yield from _power(found)
    yield f"The answer is false in at most {rate_words(found.wrong)} of studies (95 % bounds)."
    verdict = "Passed." if found.passes else f"Not passed: {'; '.join(_why_not(found))}."
    yield from _wrapped(verdict, 0)
    for note in found.notes:
        yield from _wrapped(note, 2)


def _part_lines(part: PartResult) -> Iterator[str]:
    from orchestrator.calibration.words import rate_words

    in_answer = "" if part.answers else ", not in the answer"
    yield f"{part.part}: {part.cells} cells{in_answer}; the worst:"
    rows = {
        "false positives": (part.wrong, "wrong"),
        "coverage": (part.covered, "covered"),
        "all intervals at once": (part.families, "families_covered"),
    }
    for what, (cell, name) in rows.items():
        if cell is not None:
            yield f"  {what:<22} {rate_words(getattr(cell, name))}"
            again = " (drawn again, in doubt)" if cell.again else ""
            yield from _wrapped(f"in: {cell.name}{again}", 4)


def _power(found: Calibration) -> Iterator[str]:
    from orchestrator.calibration.words import percent
    from orchestrator.calibration.written import power_lines

    lines = power_lines(found)
    if lines:
        yield "Power by true effect (in units of the metric):"
    for (part, words), cells in lines.items():
        yield from _wrapped(f"{part}, {words}", 2)
        told = [f"{one.effect:g}: {percent(one.power.rate)}" for one in cells if one.power]
        for start in range(0, len(told), 4):
            yield "    " + "   ".join(told[start : start + 4])
    if lines:
        yield ""


def _wrapped(text: str, indent: int) -> Iterator[str]:
    """Lines of at most 80 columns."""
    import textwrap

    start = " " * indent
    yield from textwrap.wrap(text, 80, initial_indent=start, subsequent_indent=start + "  ")


def _why_not(found: Calibration) -> Iterator[str]:
    from orchestrator.calibration.result import LEAST_COVERED, may_be

    if found.wrong is not None and not may_be(found.wrong):
        yield f"the answer {_too_wrong(found.wrong)}"
    for part in found.parts:
        if not part.covers:
            yield f"{part.part} covers less than {LEAST_COVERED:.0%}"
        elif part.wrong and part.wrong.wrong and not may_be(part.wrong.wrong):
            yield f"{part.part} {_too_wrong(part.wrong.wrong)}"


def _too_wrong(rate: Rate) -> str:
    from orchestrator.calibration.result import MOST_WRONG, MOST_WRONG_BOUND

    if rate.low > MOST_WRONG:
        return f"errs in more than {MOST_WRONG:.0%} of studies"
    return (
        f"may err in more than {MOST_WRONG_BOUND:.1%} of studies (more --studies tell more exactly)"
    )
