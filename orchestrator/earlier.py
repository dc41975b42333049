"""Earlier instances of a study: whether its rule or its seeds were chosen after seeing results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.attempts import outcomes
from orchestrator.errors import OrreryError
from orchestrator.rule_hash import rule_hash, rule_of, without_rule
from orchestrator.study_file import StudyFile, canonical_design, read_study_file

if TYPE_CHECKING:
    from orchestrator.study import Study

PLAN = "plan.json"


class _FirstPlan(msgspec.Struct):
    """What is read of a plan here; files of before lack what has a default."""

    study: str
    first_planned_at_s: float = 0.0
    rule_hash: str | None = None


def earlier_notes(study: Study) -> list[str]:
    """`post hoc` if another rule was applied to the same trials first, `extended` if only seeds
    were added after there were results. One line for each earlier instance that says either, or
    that cannot be read."""
    mine = _first_planned(study.folder)
    notes = [*damaged_plan_notes(study), *_other_than_planned(study)]
    for folder in sorted(study.home.studies.glob(f"{study.name}-*")):
        begun = _first_planned(folder)
        if folder == study.folder or folder.name.rpartition("-")[0] != study.name:
            continue
        if _is_damaged(folder / PLAN):
            notes.append(
                f"the {PLAN} of another instance, {folder.name}, cannot be read: whether it had "
                "results under another rule before is not known."
            )
        if begun is None or (mine is not None and begun >= mine):
            continue
        try:
            note = _note(study, folder, mine)
        except (OrreryError, ValueError, LookupError, TypeError, OSError):  # of another version
            note = f"an earlier instance {folder.name} cannot be read."
        notes += [note] if note else []
    return notes


def damaged_plan_notes(study: Study) -> list[str]:
    """One line if the file that holds the rule of the first plan cannot be read, or could not be
    once; nothing for a study that states no rule."""
    damaged = [path for path in _plans(study.folder) if _is_damaged(path)]
    if not damaged or rule_hash(study.file) is None:
        return []
    return [
        f"{damaged[0].name} cannot be read, and it holds the rule that was fixed first: whether "
        "the rule was changed after there were results is not known."
    ]


def keep_damaged_plan(folder: Path) -> None:
    """Puts a plan.json that cannot be read aside, before another is written; the first stays."""
    plan, aside = _plans(folder)
    if _is_damaged(plan) and not aside.exists():
        plan.replace(aside)


def _plans(folder: Path) -> tuple[Path, Path]:
    return folder / PLAN, folder / f"{PLAN}.damaged"


def _is_damaged(path: Path) -> bool:
    try:
        msgspec.json.decode(path.read_bytes(), type=_FirstPlan)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return False


def _other_than_planned(study: Study) -> list[str]:
    """Whether the instance was planned first under another rule than it states now."""
    now = rule_hash(study.file)
    planned = first_rule(study.folder, now)
    if planned == now:
        return []
    return [f"post hoc: planned under the rule {planned}, judged by {now or 'none'}."]


def _note(study: Study, folder: Path, mine: float | None) -> str:
    """What the earlier instance in `folder` says of this one, or nothing."""
    other = StudyFile.model_validate(read_study_file(folder / "study.yaml"))
    if not _same_question(study.file, other) or not _had_results(study, folder, mine):
        return ""
    if rule_of(other) != rule_of(study.file):
        return f"post hoc: {folder.name} had results under another rule before."
    before, now = _seeds(other), _seeds(study.file)
    if before != now and all(before[arm] <= now[arm] for arm in before):
        return f"extended: seeds were added after {folder.name} had results."
    return ""


def first_planned_at(folder: Path, now: float) -> float:
    """When an instance was planned first: what plan.json says already, else `now`."""
    return _first_planned(folder) or now


def first_rule(folder: Path, now: str | None) -> str | None:
    """The hash of the rule that an instance was planned under first, else `now`: plans of before
    hold none."""
    logged = (_plan(folder) or {}).get("rule_hash")
    return logged if isinstance(logged, str) else now


def _first_planned(folder: Path) -> float | None:
    plan = _plan(folder)
    at_s = None if plan is None else plan.get("first_planned_at_s")
    return at_s if isinstance(at_s, int | float) else None


def _plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan = json.loads((folder / PLAN).read_bytes())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def _same_question(one: StudyFile, other: StudyFile) -> bool:
    return (one.workload, one.base) == (other.workload, other.base) and (
        _measured(one) == _measured(other)
    )


def _measured(file: StudyFile) -> dict[str, Any]:
    """The design, whatever replicates its arms have, and whatever is asked of them."""
    design = without_rule(canonical_design(file.design))
    for arm in design["arms"]:
        arm.pop("seeds", None)
    return design


def _seeds(file: StudyFile) -> dict[str, frozenset[int]]:
    """The seeds of every listed arm, and under "" those of all others."""
    shared = frozenset(file.seeds)
    own = {a.name: shared if a.seeds is None else frozenset(a.seeds) for a in file.design.arms}
    return {"": shared, **own}


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
