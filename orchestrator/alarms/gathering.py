"""The series of every trial of a study, from its scores by step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.alarms.series import ArmRuns, Run, Series

if TYPE_CHECKING:
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study
    from workloads.contract import Scores

MOST_TOLD = 3
"""Problems of an arm that are told one by one."""


def gather(study: Study, plan: Plan, rule: AlarmRule) -> list[ArmRuns]:
    """Every arm with its runs, in the order of the design.

    What cannot be read as a series is left out and told in `problems`. A healthy run that made the
    thresholds is left out of those that check them. Raises `DamagedFileError` for a file of scores
    that cannot be read at all.
    """
    by_arm: dict[str, list[PlannedTrial]] = {}
    for item in plan.trials:
        if item.trial.role != "proposal":
            by_arm.setdefault(item.trial.arm, []).append(item)
    used = {item.trial.identity for item in by_arm.get(rule.calibration, [])}
    return [
        _arm(study, plan, rule, name, items, used if name == rule.unseen else ())
        for name, items in by_arm.items()
    ]


def _arm(
    study: Study,
    plan: Plan,
    rule: AlarmRule,
    name: str,
    items: list[PlannedTrial],
    used: Collection[str],
) -> ArmRuns:
    runs, problems = [], []
    shared = sum(item.trial.identity in used for item in items)
    if shared:
        problems.append(
            f"{name}: {shared} of its runs are runs of {rule.calibration} too, and check nothing: "
            "give it other seeds"
        )
    ended = [item for item in items if item.record.outcome is not None]
    failed = [i for i in items if i.record.outcome is None and i.state in ("failed", "pruned")]
    for item in ended:
        if item.trial.identity in used:
            continue
        run, told = _run(study, plan, rule, item)
        runs.append(run)
        problems += [f"{name}, seed {item.trial.seed}: {one}" for one in told]
    if len(problems) > MOST_TOLD:
        more = f"{name}: as much is wrong with {len(problems) - MOST_TOLD} series more"
        problems = [*problems[:MOST_TOLD], more]
    return ArmRuns(
        arm=name,
        runs=tuple(runs),
        role=items[0].trial.role,
        planned=len(items),
        failed=len(failed),
        waiting=len(items) - len(ended) - len(failed),
        problems=tuple(problems),
    )


def _run(study: Study, plan: Plan, rule: AlarmRule, item: PlannedTrial) -> tuple[Run, list[str]]:
    outcome = item.record.outcome
    assert outcome is not None
    trial = item.trial
    healthy = trial.arm in (rule.calibration, rule.unseen)
    onset = None if rule.onset is None or healthy else outcome.values().get(rule.onset)
    found = _series(study, plan, rule, item)
    signals = {name: one for name, one in found.items() if isinstance(one, Series)}
    problems = list(_told({name: one for name, one in found.items() if isinstance(one, str)}))
    known = onset is not None and onset == onset and abs(onset) != float("inf")
    at = int(onset) if known and onset is not None else None
    return Run(trial.seed, trial.identity, signals, at), problems


def _told(whys: Mapping[str, str]) -> Iterator[str]:
    """What holds for several signals is told once."""
    for why in dict.fromkeys(whys.values()):
        names = [name for name, one in whys.items() if one == why]
        yield f"signal{'s' * (len(names) > 1)} {', '.join(names)}: {why}"


def _series(
    study: Study, plan: Plan, rule: AlarmRule, item: PlannedTrial
) -> dict[str, Series | str]:
    """Every signal as a series, or why it is none."""
    from orchestrator.trial_scores import trial_columns

    columns, split = {name: one.column for name, one in rule.signals.items()}, rule.split
    outcome = item.record.outcome
    if outcome is None or outcome.scores is None:
        why = f"the trial has no scores; a workload gives them as Scores(split='{split}', …)"
        return dict.fromkeys(columns, why)
    path = study.home.trial(item.trial.identity) / outcome.scores
    scores = trial_columns(study, plan, item, split, list(columns.values()))
    if scores is None:
        return dict.fromkeys(columns, f"its scores have no split '{split}' ({_there(path)})")
    try:
        steps = [int(unit) for unit in scores.units]
    except ValueError:
        why = f"units of split '{split}' must be steps, whole numbers; got '{scores.units[0]}'"
        return dict.fromkeys(columns, why)
    return {name: _one(path, scores, steps, column) for name, column in columns.items()}


def _one(path: Path, scores: Scores, steps: list[int], column: str) -> Series | str:
    if column not in scores.columns:
        return f"split '{scores.split}' has no column '{column}' ({_there(path)})"
    try:
        return Series.of(scores.columns[column], steps)
    except ValueError as error:
        return f"column '{column}' of split '{scores.split}': {error}"


def _there(path: Path) -> str:
    """What a file of scores holds."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    splits = ", ".join(sorted({str(one) for one in table["split"].to_pylist()})) or "none"
    return f"columns: {', '.join(_columns(table.column_names)) or 'none'}; splits: {splits}"


def _columns(names: list[str]) -> Iterator[str]:
    return (name for name in names if name not in ("split", "unit", "cluster"))
