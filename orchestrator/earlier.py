"""Earlier instances of a study: whether its rule or its seeds were chosen after seeing results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.study_file import StudyFile, read_study_file

if TYPE_CHECKING:
    from orchestrator.study import Study


def earlier_notes(study: Study) -> list[str]:
    """`post hoc` if another rule was applied to the same trials first, `extended` if only seeds
    were added after there were results. One line for each earlier instance."""
    mine = _first_planned(study.folder)
    notes = []
    for folder in sorted(study.home.studies.glob(f"{study.name}-*")):
        begun = _first_planned(folder)
        if folder == study.folder or begun is None or (mine is not None and begun >= mine):
            continue
        other = StudyFile.model_validate(read_study_file(folder / "study.yaml"))
        if not _same_question(study.file, other) or not _had_results(study, folder, mine):
            continue
        if _rule(other) != _rule(study.file):
            notes.append(f"post hoc: {folder.name} had results under another rule before.")
        elif set(other.seeds) < set(study.file.seeds):
            notes.append(f"extended: seeds were added after {folder.name} had results.")
    return notes


def first_planned_at(folder: Path, now: float) -> float:
    """When an instance was planned first: what plan.json says already, else `now`."""
    return _first_planned(folder) or now


def _first_planned(folder: Path) -> float | None:
    plan = _plan(folder)
    return None if plan is None else plan.get("first_planned_at_s")


def _plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_bytes())
    except (OSError, ValueError):
        return None
    return plan


def _same_question(one: StudyFile, other: StudyFile) -> bool:
    return (one.design, one.workload, one.base) == (other.design, other.workload, other.base)


def _rule(file: StudyFile) -> Any:
    return file.verdict.canonical() if file.verdict else None


def _had_results(study: Study, folder: Path, before_s: float | None) -> bool:
    records = study.ledger.records(_trial_ids(folder)).values()
    return any(
        record.outcome is not None and (before_s is None or record.outcome.finished_at_s < before_s)
        for record in records
    )


def _trial_ids(folder: Path) -> Iterator[str]:
    for trial in (_plan(folder) or {}).get("trials", []):
        yield trial["id"]
