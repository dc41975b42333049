"""What every arm of an endpoint measured: from the scores of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.claims.gathering import FAILED
from orchestrator.endpoints.pairing import Run, Side
from orchestrator.endpoints.rule import compared_arms

if TYPE_CHECKING:
    from orchestrator.endpoints.rule import Endpoint
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study
    from workloads.contract import Scores

DIVERGED = "diverged"
"""A flag of a trial that was scored, and a kind of failure of one that could not be."""


def gather(study: Study, plan: Plan) -> dict[str, dict[str, Side]]:
    """By endpoint every arm that it names, the one it is held against among them.

    Raises `DamagedFileError` for scores that are.
    """
    by_arm: dict[str, list[PlannedTrial]] = {}
    for item in plan.trials:
        by_arm.setdefault(item.trial.arm, []).append(item)
    endpoints = study.file.endpoints
    wanted = {name: (*compared_arms(one, by_arm), one.against) for name, one in endpoints.items()}
    read: dict[tuple[str, str], Scores | None] = {}
    for split in {one.split for one in endpoints.values()}:
        asked = {name: one for name, one in endpoints.items() if one.split == split}
        columns = [one.column for one in asked.values()]
        for arm in dict.fromkeys(arm for name in asked for arm in wanted[name]):
            for item in by_arm.get(arm, ()):
                read[item.trial.identity, split] = _scores(study, plan, item, split, columns)
    return {
        name: {arm: _side(study, arm, by_arm.get(arm, []), endpoints[name], read) for arm in arms}
        for name, arms in wanted.items()
    }


def _scores(
    study: Study, plan: Plan, item: PlannedTrial, split: str, columns: list[str]
) -> Scores | None:
    from orchestrator.trial_scores import trial_columns

    return trial_columns(study, plan, item, split, columns)


def _side(
    study: Study,
    arm: str,
    items: list[PlannedTrial],
    endpoint: Endpoint,
    read: Mapping[tuple[str, str], Scores | None],
) -> Side:
    ended = [item for item in items if item.record.outcome is not None]
    lost = [item for item in items if item.record.outcome is None and item.state in FAILED]
    return Side(
        arm=arm,
        runs=tuple(_run(item, endpoint, read) for item in ended),
        seeds=tuple(item.trial.seed for item in items),
        failures=tuple(i.record.failure.kind if i.record.failure else i.state for i in lost),
        waiting=len(items) - len(ended) - len(lost),
        deterministic=bool(items) and study.workload.deterministic(items[0].trial.config),
        control=any(item.trial.role == "control" for item in items),
    )


def _run(
    item: PlannedTrial, endpoint: Endpoint, read: Mapping[tuple[str, str], Scores | None]
) -> Run:
    outcome = item.record.outcome
    flags = set(outcome.flags) if outcome is not None else set()
    diverged = DIVERGED in flags
    notes = tuple(outcome.notes) if outcome is not None and flags - {DIVERGED} else ()
    scores = read[item.trial.identity, endpoint.split]
    if scores is None or endpoint.column not in scores.columns:
        return Run(item.trial.seed, (), (), (), diverged, notes)
    values = scores.columns[endpoint.column]
    return Run(item.trial.seed, scores.units, scores.clusters, values, diverged, notes)
