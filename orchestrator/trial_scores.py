"""The scores of trials that have ended, from the files that their outcomes name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.counted import counted
from orchestrator.errors import DamagedFileError

if TYPE_CHECKING:
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study
    from workloads.contract import Scores

MOST_NAMED = 3


def trial_columns(
    study: Study, plan: Plan, item: PlannedTrial, split: str, columns: Sequence[str]
) -> Scores | None:
    """Those of these columns that the trial scored in a split; None if its file does not hold the
    split, or it has no scores.

    Raises `DamagedFileError`, which names every trial of the plan whose file is gone, was changed
    or cannot be read, and the command that makes them again.
    """
    from orchestrator.score_files import read_columns

    outcome = item.record.outcome
    if outcome is None or outcome.scores is None:
        return None
    path = study.home.trial(item.trial.identity) / outcome.scores
    try:
        return read_columns(path, split, columns, digest=outcome.scores_digest)
    except DamagedFileError as error:
        raise _all_damaged(study, plan, str(error)) from error


def _all_damaged(study: Study, plan: Plan, first: str) -> DamagedFileError:
    from orchestrator.publishing import reproduce_command
    from orchestrator.score_files import why_unreadable

    damaged: dict[str, str] = {}
    for item in plan.trials:
        outcome = item.record.outcome
        if outcome is None or outcome.scores is None or item.trial.identity in damaged:
            continue
        path = study.home.trial(item.trial.identity) / outcome.scores
        if why := why_unreadable(path, outcome.scores_digest):
            damaged[item.trial.identity] = (
                f"{item.trial.arm} seed {item.trial.seed}: '{path}' {why}"
            )
    told = list(damaged.values())[:MOST_NAMED] or [first]
    more = len(damaged) - len(told)
    again = "".join(f" --again {identity[:8]}" for identity in damaged)
    return DamagedFileError(
        f"The scores of {counted(max(1, len(damaged)), 'trial')} cannot be used: {'; '.join(told)}"
        + (f"; and {more} more" if more > 0 else "")
        + f". Run what is named again: {reproduce_command(study)}{again}"
    )
