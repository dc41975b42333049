"""The tables of a report as CSV, a line after the other: `orrery report STUDY --csv`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, unknown
from orchestrator.score_table import csv_lines, score_table

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.reporting import StudyReport
    from orchestrator.study import Study


def table_lines(
    study: Study, plan: Plan, report: StudyReport, name: str | None = None
) -> Iterator[str]:
    """Lines of one table: `arms`, `trials`, `scores`, or a CSV file of the report by its name.

    Without a name `arms`, or `trials` of a study that states no rule. `scores` is what
    `orrery verdict` reads (`score_table`). Raises `UsageError` for a table that there is not.
    """
    files = {path.stem: path for path in report.files if path.suffix == ".csv"}
    files = {"arms" if stem == "report" else stem: path for stem, path in files.items()}
    with_rule = study.file.verdict is not None
    asked = name or ("arms" if with_rule else "trials")
    if asked == "scores":
        return csv_lines(score_table(study, plan))
    if asked not in files:
        why = "" if with_rule else "The study states no rule of arms, and has no table of them."
        raise UsageError(unknown("table", asked, [*files, "scores"], why))
    return _lines_of(files[asked].read_text(encoding="utf-8"))


def _lines_of(text: str) -> Iterator[str]:
    yield from text.splitlines(keepends=True)
