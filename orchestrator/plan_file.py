"""`plan.json`: what a study instance was planned as, kept so that it can be told without planning.

A study whose inputs are gone, or whose workload is no longer installed, can't be planned. Its runs
can still be published, since this file says what its trials are.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.earlier import PLAN, first_planned_at, first_rule, keep_damaged_plan
from orchestrator.errors import DamagedFileError
from orchestrator.home import write_whole
from orchestrator.rule_hash import rule_hash

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study

NAME = PLAN


class PlannedArm(msgspec.Struct, frozen=True):
    """An arm: its role, and the factors and resolved configuration that its trials share."""

    name: str
    role: str = "arm"
    factors: dict[str, str | int | float | bool | None] = {}
    params: dict[str, Any] = {}


class ListedTrial(msgspec.Struct, frozen=True):
    """A trial of the plan. `seed` and `label` are absent in files of version 0.1."""

    id: str
    arm: str
    replicate: int
    seed: int | None = None
    label: str = ""


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of plan.json."""

    study: str
    source: str | None = None
    preset: str | None = None
    settings: dict[str, Any] = {}
    planned_at_s: float = 0.0
    first_planned_at_s: float = 0.0
    rule_hash: str | None = None
    """Of the decision rule at that time; None for a study that states none, and in files of before.
    """
    code_digest: str = ""
    workload: str = ""
    counts: dict[str, int] = {}
    published_elsewhere: bool = False
    """The last run was told where to publish (`--to`)."""
    arms: list[PlannedArm] = []
    trials: list[ListedTrial] = []
    asked: list[str] = []
    """Trials whose models had points left to measure when this was planned."""


def write_plan(study: Study, plan: Plan) -> None:
    """Writes study.yaml, as resolved, and plan.json into the study's folder."""
    import yaml

    folder: Path = study.folder
    resolved = study.file.model_dump(mode="json", exclude={"presets"})
    # a default that is written out would go before what a cluster's profile says
    resolved["slurm"] = study.file.slurm.model_dump(mode="json", exclude_unset=True)
    write_whole(
        folder / "study.yaml", yaml.safe_dump(resolved, sort_keys=False, width=100).encode()
    )
    now = time.time()
    first = {item.trial.arm: item.trial for item in reversed(plan.trials)}
    told = PlanFile(
        study=study.instance,
        source=study.source,
        preset=study.preset,
        settings=dict(study.settings or {}),
        planned_at_s=now,
        first_planned_at_s=first_planned_at(folder, now),
        rule_hash=first_rule(folder, rule_hash(study.file)),
        code_digest=study.code_digest,
        workload=study.workload.name,
        counts=plan.counts,
        published_elsewhere=study.home.published_to is not None,
        arms=[
            PlannedArm(arm, trial.role, dict(trial.factors), trial.config.model_dump(mode="json"))
            for arm, trial in reversed(first.items())
        ],
        trials=[
            ListedTrial(
                i.trial.identity, i.trial.arm, i.trial.replicate, i.trial.seed, i.trial.label
            )
            for i in plan.trials
        ],
        asked=[subject.trial.identity for subject in plan.subjects if subject.missing],
    )
    keep_damaged_plan(folder)
    write_whole(folder / NAME, msgspec.json.encode(told))


def read_plan(folder: Path) -> PlanFile:
    """The plan in a study's folder. Raises `DamagedFileError` if it is gone or no plan."""
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=PlanFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise DamagedFileError(f"'{path}' cannot be read ({error}).") from error


def was_published_elsewhere(folder: Path) -> bool:
    """Whether the last run of the study in `folder` was told where to publish (`--to`)."""
    try:
        return read_plan(folder).published_elsewhere
    except DamagedFileError:
        return False
