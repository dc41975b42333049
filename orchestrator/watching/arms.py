"""The arms of a study as they stand: counts, means, and differences that are not a verdict."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.planning import PlannedTrial

if TYPE_CHECKING:
    from orchestrator.verdict.rule import Rule

PROPOSALS = "(proposals)"
"""The row that stands for all proposals of a search."""
NOT_A_VERDICT = "not a verdict"


@dataclass(frozen=True)
class ArmSoFar:
    """An arm with what its finished trials came to; None is "not measured"."""

    arm: str
    role: str
    planned: int
    done: int
    failed: int
    running: int
    mean: float | None
    """Of the verdict's metric, over the trials that are done."""
    difference: float | None
    """To the comparator's mean so far; None for the comparator itself."""
    ahead: bool
    """Whether the difference reaches the first band, in the good direction; never for a control.
    Not a verdict: no interval, no gate, no correction for many arms stands behind it."""


@dataclass
class _Row:
    role: str
    states: Counter[str] = field(default_factory=Counter)
    values: list[float] = field(default_factory=list)


def arms_so_far(rule: Rule | None, items: Iterable[PlannedTrial]) -> list[ArmSoFar]:
    """One entry per arm in the order of the study; a search's proposals are one entry."""
    rows: dict[str, _Row] = {}
    for item in items:
        proposal = item.trial.role == "proposal"
        row = rows.setdefault(PROPOSALS if proposal else item.trial.arm, _Row(item.trial.role))
        row.states[item.state] += 1
        if (value := trial_value(rule, item)) is not None and not proposal:
            row.values.append(value)
    baseline = rows.get(rule.comparator) if rule else None
    reference = _mean(baseline.values) if baseline else None
    found = []
    for name, row in rows.items():
        mean = _mean(row.values)
        difference = None
        if mean is not None and reference is not None and row is not baseline:
            difference = mean - reference
        found.append(
            ArmSoFar(
                arm=name,
                role=row.role,
                planned=row.states.total(),
                done=row.states["done"] + row.states["pruned"],
                failed=row.states["failed"],
                running=row.states["running"],
                mean=mean,
                difference=difference,
                ahead=row.role == "arm" and _ahead(rule, difference),
            )
        )
    return found


def trial_value(rule: Rule | None, item: PlannedTrial) -> float | None:
    """The verdict's metric of a finished trial; None where it has none, or one not finite."""
    outcome = item.record.outcome
    if rule is None or outcome is None or item.state != "done":
        return None
    stored = outcome.metrics.get(rule.metric)
    return None if stored is None or not math.isfinite(value := float(stored)) else value


def _ahead(rule: Rule | None, difference: float | None) -> bool:
    if rule is None or difference is None:
        return False
    good = difference if rule.direction == "higher" else -difference
    return good >= rule.bands[0].at_least


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None
