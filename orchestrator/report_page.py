"""The page of a study's report with plots that answer to a pointer: `orrery report --html`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestrator.home import Home, write_whole
from orchestrator.publishing import mlflow_run_ids
from orchestrator.report_facts import study_info, trial_rows
from orchestrator.reporting import PAGE, StudyReport

if TYPE_CHECKING:
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.report.trial_places import Places, TrialPlace
    from orchestrator.study import Study


def write_page(study: Study, plan: Plan, report: StudyReport, out: Path | None = None) -> Path:
    """Writes the page of a report that is there, by default into the study's folder; its path.

    Raises `OSError` if it cannot be written; it is replaced whole or not at all.
    """
    from orchestrator.report import interactive_page

    path = (study.folder / PAGE if out is None else out).absolute()
    page = interactive_page(
        report.verdict,
        report.findings,
        study_info(study, plan),
        trial_rows(plan),
        report.folder,
        report.drawn.pictures,
        report.drawn.added,
        _places(study, plan, report, path.parent),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode())
    return path


def _places(study: Study, plan: Plan, report: StudyReport, start: Path) -> Places:
    """Addresses as they are from the folder `start`."""
    from orchestrator.report.trial_places import Places

    run_ids = mlflow_run_ids(study, plan)
    trials = tuple(_place(study, item, run_ids, start) for item in plan.trials)
    files = tuple(
        (str(path.relative_to(report.folder)), _address(path, start))
        for path in report.files
        if path.name != "verdict.json"
    )
    return Places(trials, files)


def _place(study: Study, item: PlannedTrial, run_ids: dict[str, str], start: Path) -> TrialPlace:
    from orchestrator.report.trial_places import TrialPlace

    identity, outcome = item.trial.identity, item.record.outcome
    folder = study.home.trial(identity)
    artifacts = folder / outcome.artifacts if outcome and outcome.artifacts else None
    elsewhere = study.home != Home.find()
    return TrialPlace(
        identity=identity,
        path=str(folder),
        folder=_address(folder, start) if folder.is_dir() else "",
        artifacts=_address(artifacts, start)
        if artifacts is not None and artifacts.is_dir()
        else "",
        run_id=run_ids.get(identity, ""),
        after=f" --home {shlex.quote(str(study.home.root))}" if elsewhere else "",
    )


def _address(path: Path, start: Path) -> str:
    """Relative to a folder, as a link has it; a folder ends in a slash."""
    address = quote(Path(os.path.relpath(path.absolute(), start)).as_posix())
    return f"{address}/" if path.is_dir() else address
