"""What each run of an arm contributes to a claim: from the scores of its trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.claims.result import RunFigure

if TYPE_CHECKING:
    from orchestrator.claims.rule import Claim
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study

FAILED = frozenset({"failed", "pruned"})
"""States of trials that ended without scores."""


@dataclass(frozen=True)
class ArmRuns:
    """The runs of a claim's arm. `failed` ended without a result, `waiting` have not ended."""

    figures: tuple[RunFigure, ...]
    failed: int
    waiting: int
    control: bool = False
    """Whether the arm is a control: nobody's claim hangs on what is said of one."""


def gather(study: Study, plan: Plan, claim: Claim) -> ArmRuns:
    """Every planned run of the claim's arm. Raises `DamagedFileError` for scores that are."""
    items = [item for item in plan.trials if item.trial.arm == claim.arm]
    ended = [item for item in items if item.record.outcome is not None]
    failed = sum(item.record.outcome is None and item.state in FAILED for item in items)
    figures = tuple(
        run_figure(item.trial.seed, _units(study, plan, item, claim), claim) for item in ended
    )
    control = any(item.trial.role == "control" for item in items)
    return ArmRuns(figures, failed, len(items) - len(ended) - failed, control)


def run_figure(seed: int, units: Sequence[float | None], claim: Claim) -> RunFigure:
    """What one run contributes, from its units. None is not measured. One that was, and is not
    finite, might have been anything: it leaves the run no value."""
    measured = [value for value in units if value is not None]
    strange = sum(not math.isfinite(value) for value in measured)
    return RunFigure(seed, _value(measured, claim), len(measured), strange)


def _value(measured: Sequence[float], claim: Claim) -> float | None:
    if not measured:
        return None
    if not all(map(math.isfinite, measured)):
        return math.nan
    if claim.within is not None:
        low, high = claim.within
        inside = sum(
            (low is None or value >= low) and (high is None or value <= high) for value in measured
        )
        return inside / len(measured) if claim.statistic == "share" else float(inside > 0)
    if claim.statistic == "mean":
        return math.fsum(measured) / len(measured)
    import numpy as np

    return float(np.median(measured))


def _units(study: Study, plan: Plan, item: PlannedTrial, claim: Claim) -> Sequence[float | None]:
    from orchestrator.trial_scores import trial_columns

    scores = trial_columns(study, plan, item, claim.split, [claim.column])
    return scores.columns.get(claim.column, ()) if scores is not None else ()
