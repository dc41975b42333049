"""Writes a report: Markdown, CSV, HTML and pictures in one folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.report.info import StudyInfo
from orchestrator.verdict.result import Verdict

if TYPE_CHECKING:
    from orchestrator.findings import Findings
    from orchestrator.report.effect_files import Written
    from orchestrator.report.sections import Section
    from orchestrator.report.trial_places import Places


@dataclass(frozen=True)
class Report:
    """Where a report's files lie; `factors_png` is None where the arms lie on no grid."""

    folder: Path
    markdown: Path
    html: Path
    arms_csv: Path
    trials_csv: Path
    verdict_json: Path
    means_png: Path
    differences_png: Path
    factors_png: Path | None
    findings: tuple[Path, ...] = ()
    """Tables and pictures of what was found, for a study that asks for more than a verdict."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """File names of the pictures among these by what they show."""

    def paths(self) -> tuple[Path, ...]:
        """Every file that was written."""
        files = (
            self.markdown,
            self.html,
            self.arms_csv,
            self.trials_csv,
            self.verdict_json,
            self.means_png,
            self.differences_png,
            self.factors_png,
            *self.findings,
        )
        return tuple(path for path in files if path is not None)


def write_report(
    verdict: Verdict,
    study_info: StudyInfo,
    trials_table: Sequence[Mapping[str, Any]],
    folder: Path | str,
    findings: Findings | None = None,
    added: Sequence[Section] = (),
) -> Report:
    """Write every form of the report into `folder`, which is made if need be.

    Args:
        trials_table: one mapping per trial; a column that a row lacks is "n/a" there.
        added: further sections; their pictures lie in `folder` already.

    Raises:
        OSError: the folder cannot be written. A file is replaced whole or not at all.
    """
    from orchestrator.report.factors import plot_factors
    from orchestrator.report.findings import finding_sections, write_findings
    from orchestrator.report.html import html_page
    from orchestrator.report.markdown import markdown
    from orchestrator.report.plots import plot_differences, plot_means
    from orchestrator.report.sections import comparison_sections
    from orchestrator.report.tables import arms_csv, trials_csv

    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    means = plot_means(verdict, home / "means.png")
    differences = plot_differences(verdict, home / "differences.png")
    factors = plot_factors(verdict, home / "factors.png")
    if factors is None:
        (home / "factors.png").unlink(missing_ok=True)
    pictures = {
        f"{verdict.metric} by arm, with intervals": means.name,
        f"Difference to {verdict.comparator} by arm, with bands": differences.name,
    }
    if factors is not None:
        pictures[f"{verdict.metric} over the factors"] = factors.name
    written = write_findings(findings, home)
    found = finding_sections(findings, written.pictures)
    sections = (*comparison_sections(verdict), *found, *added)
    data = json.dumps(verdict.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    return Report(
        folder=home,
        markdown=_write(
            home / "report.md", markdown(verdict, study_info, trials_table, pictures, sections)
        ),
        html=_write(
            home / "report.html", html_page(verdict, study_info, trials_table, sections, home)
        ),
        arms_csv=_write(home / "report.csv", arms_csv(verdict)),
        trials_csv=_write(home / "trials.csv", trials_csv(trials_table)),
        verdict_json=_write(home / "verdict.json", data + "\n"),
        means_png=means,
        differences_png=differences,
        factors_png=factors,
        findings=written.files,
        pictures=written.pictures,
    )


def write_findings_report(
    findings: Findings,
    study_info: StudyInfo,
    trials_table: Sequence[Mapping[str, Any]],
    folder: Path | str,
    added: Callable[[Path], Sequence[Section]] = lambda folder: (),
) -> Written:
    """The same of a study that states no rule: its findings, its trials, and no verdict on them.

    `added` gives further sections once the tables of the findings are in the folder. Gives the
    files that were written, those of `added` left out, and the pictures of findings.
    """
    from orchestrator.report.effect_files import Written
    from orchestrator.report.findings import finding_sections, write_findings
    from orchestrator.report.html import page_without_rule
    from orchestrator.report.markdown import markdown_without_rule
    from orchestrator.report.tables import trials_csv

    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    written = write_findings(findings, home)
    sections = (*finding_sections(findings, written.pictures), *added(home))
    text = markdown_without_rule(study_info, trials_table, sections)
    files = (
        _write(home / "report.md", text),
        _write(home / "report.html", page_without_rule(study_info, trials_table, sections, home)),
        _write(home / "trials.csv", trials_csv(trials_table)),
        *written.files,
    )
    return Written(files, written.pictures)


def interactive_page(
    verdict: Verdict | None,
    findings: Findings,
    study_info: StudyInfo,
    trials_table: Sequence[Mapping[str, Any]],
    folder: Path,
    pictures: Mapping[str, str],
    added: Sequence[Section],
    places: Places,
) -> str:
    """The page of a report that was written into `folder`, with plots that answer to a pointer.

    `pictures` of its findings and the sections `added` are as they were then.
    """
    from orchestrator.report.findings import finding_sections
    from orchestrator.report.html import html_page, page_without_rule
    from orchestrator.report.interactive import finding_plots, verdict_plots
    from orchestrator.report.interactive.embedding import Plots
    from orchestrator.report.sections import comparison_sections

    plots = finding_plots(findings)
    sections = (*finding_sections(findings, pictures), *added)
    if verdict is None:
        page = Plots(plots)
        return page_without_rule(study_info, trials_table, sections, folder, page, places)
    page = Plots({**verdict_plots(verdict), **plots})
    sections = (*comparison_sections(verdict), *sections)
    return html_page(verdict, study_info, trials_table, sections, folder, page, places)


def _write(path: Path, text: str) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
