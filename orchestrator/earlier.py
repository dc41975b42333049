"""Earlier instances of a study: whether its rule or its seeds were chosen after seeing results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.attempts import outcomes
from orchestrator.errors import OrreryError
from orchestrator.study_file import StudyFile, canonical_design, read_study_file

if TYPE_CHECKING:
    from orchestrator.study import Study


def earlier_notes(study: Study) -> list[str]:
    """`post hoc` if another rule was applied to the same trials first, `extended` if only seeds
    were added after there were results. One line for each earlier instance that says either, or
    that cannot be read."""
    mine = _first_planned(study.folder)
    notes = []
    for folder in sorted(study.home.studies.glob(f"{study.name}-*")):
        begun = _first_planned(folder)
        if folder == study.folder or folder.name.rpartition("-")[0] != study.name:
            continue
        if begun is None or (mine is not None and begun >= mine):
            continue
        try:
            note = _note(study, folder, mine)
        except (OrreryError, ValueError, LookupError, TypeError, OSError):  # of another version
            note = f"an earlier instance {folder.name} cannot be read."
        notes += [note] if note else []
    return notes


def _note(study: Study, folder: Path, mine: float | None) -> str:
    """What the earlier instance in `folder` says of this one, or nothing."""
    other = StudyFile.model_validate(read_study_file(folder / "study.yaml"))
    if not _same_question(study.file, other) or not _had_results(study, folder, mine):
        return ""
    if _rule(other) != _rule(study.file):
        return f"post hoc: {folder.name} had results under another rule before."
    before, now = _seeds(other), _seeds(study.file)
    if before != now and all(before[arm] <= now[arm] for arm in before):
        return f"extended: seeds were added after {folder.name} had results."
    return ""


def first_planned_at(folder: Path, now: float) -> float:
    """When an instance was planned first: what plan.json says already, else `now`."""
    return _first_planned(folder) or now


def _first_planned(folder: Path) -> float | None:
    plan = _plan(folder)
    at_s = None if plan is None else plan.get("first_planned_at_s")
    return at_s if isinstance(at_s, int | float) else None


def _plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan = json.loads((folder / "plan.json").read_bytes())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def _same_question(one: StudyFile, other: StudyFile) -> bool:
    return (one.workload, one.base) == (other.workload, other.base) and (
        _without_seeds(one) == _without_seeds(other)
    )


def _without_seeds(file: StudyFile) -> dict[str, Any]:
    """The design, whatever replicates its arms have, and whatever they are there for."""
    design = canonical_design(file.design)
    for arm in design["arms"]:
        arm.pop("seeds", None)
        arm.pop("role", None)
    return design


def _seeds(file: StudyFile) -> dict[str, frozenset[int]]:
    """The seeds of every listed arm, and under "" those of all others."""
    shared = frozenset(file.seeds)
    own = {a.name: shared if a.seeds is None else frozenset(a.seeds) for a in file.design.arms}
    return {"": shared, **own}


def _rule(file: StudyFile) -> Any:
    return (
        file.verdict.canonical() if file.verdict else None,
        file.alarms.canonical() if file.alarms else None,
        {name: claim.canonical() for name, claim in file.claims.items()},
        {name: endpoint.canonical() for name, endpoint in file.endpoints.items()},
        {arm.name: arm.role for arm in file.design.arms},  # controls are no family of the others
    )


def _had_results(study: Study, folder: Path, before_s: float | None) -> bool:
    """Whether a trial of the instance had its first outcome by then: a later one (`--again`, a
    wider observation) takes nothing back."""
    return any(
        before_s is None or outcome.finished_at_s < before_s
        for identity in _trial_ids(folder)
        for outcome in outcomes(study.home.trial(identity))
    )


def _trial_ids(folder: Path) -> Iterator[str]:
    for trial in (_plan(folder) or {}).get("trials", []):
        yield trial["id"]
