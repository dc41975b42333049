"""From arms with replicates to moments on common questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.verdict.evidence import ArmScores, ReplicateScores

if TYPE_CHECKING:
    from orchestrator.statistics import Aligned, Moments


def finite(value: Any) -> float | None:
    """A number as a plain float, and None for one that is missing or not finite."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def measure(arms: Sequence[ArmScores]) -> Aligned | None:
    """Reduce the finished replicates of some arms to moments on the questions all of them have.

    Falls back to the replicates' mean values where a replicate has no scores by question. None
    where an arm has no result at all or is not to be averaged (a replicate diverged and cannot be
    scored), or there is no common question.

    Raises:
        ValueError: scores, units and clusters of different lengths, or in contradiction.
    """
    from orchestrator.statistics import align, align_means

    finished = [arm.done() for arm in arms]
    if any(one.diverged for arm in arms for one in arm.lost()):
        return None
    if not finished or any(not replicates for replicates in finished):
        return None
    keyed = [[one.questions for one in replicates] for replicates in finished]
    if all(one is not None for replicates in keyed for one in replicates):
        aligned = align([[one for one in replicates if one is not None] for replicates in keyed])
    else:
        means = [[_mean(one) for one in replicates] for replicates in finished]
        aligned = align_means([[mean for mean in arm if mean is not None] for arm in means])
    return None if aligned is None else _without_seed_noise(aligned, arms)


def _mean(one: ReplicateScores) -> float | None:
    value = finite(one.value)
    return one.mean_score if value is None else value


def _without_seed_noise(aligned: Aligned, arms: Sequence[ArmScores]) -> Aligned:
    """A deterministic arm with one replicate varies over questions only."""
    import numpy as np

    reduced = [
        replace(
            moments,
            seed_variance=np.zeros_like(moments.mean),
            residual_variance=np.zeros_like(moments.mean),
        )
        if arm.deterministic and moments.seeds == 1
        else moments
        for arm, moments in zip(arms, aligned.arms, strict=True)
    ]
    return replace(aligned, arms=tuple(reduced))


def nothing_varies(arm: Moments) -> bool:
    """Whether the arm is one mean, of one replicate: no interval can speak of it alone."""
    return arm.seeds == 1 and arm.influence is None


def own_interval(arm: Moments, confidence: float) -> tuple[float | None, float | None]:
    """The ends of the interval of an arm's own mean; None where there is none."""
    from orchestrator.statistics import mean

    if nothing_varies(arm):
        return None, None
    low, high = mean(arm).interval(confidence)
    return finite(low), finite(high)


def same_scores(arm: ArmScores, comparator: ArmScores) -> bool:
    """Whether every replicate gave exactly what the comparator gave under the same seed."""
    mine = {one.seed: one for one in arm.done()}
    theirs = {one.seed: one for one in comparator.done()}
    return (
        bool(mine)
        and mine.keys() == theirs.keys()
        and all(_same(mine[seed], theirs[seed]) for seed in mine)
    )


def _same(a: ReplicateScores, b: ReplicateScores) -> bool:
    import numpy as np

    if a.questions is None or b.questions is None:
        return False  # equal means say little of equal answers
    if a.questions.units != b.questions.units:
        return False
    return bool(np.array_equal(a.questions.scores, b.questions.scores, equal_nan=True))
