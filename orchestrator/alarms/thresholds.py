"""Thresholds that give signals the same rate of false alarms, and the check of that rate.

A step deviates by its distance from the mean of the healthy calibration runs at the same step. The
deviation of a calibration run itself is taken from the mean of the others, (s - mean) n / (n - 1),
as a new run's is from runs that it is not one of; of n runs the difference that remains is of order
1 / n², and makes thresholds larger. What a run comes to is its largest deviation, and the threshold
is the conformal quantile of these (Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a
Random World): of n, the ⌈(1 - rate)(n + 1)⌉-th smallest. A healthy run that is like them exceeds it
with a chance of at most `rate`, over calibration sets and new runs together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.alarms.rule import Direction
    from orchestrator.alarms.series import Stack

    Floats = NDArray[np.float64]

FEWEST_CALIBRATION = 99
"""Runs: a threshold for 2 % is then the largest but one of them, at least."""
FEWEST_UNSEEN = 200
"""Runs: with fewer, the upper bound of a rate of 2 % says too little."""


@dataclass(frozen=True, eq=False)
class Healthy:
    """What calibration runs are like.

    Attributes:
        mean: [steps] over their finite values; NaN at a step that fewer than two of them have.
        own: [runs, steps] deviations of each from the others.
    """

    mean: Floats
    own: Floats
    direction: Direction

    @cached_property
    def largest(self) -> Floats:
        """[runs] the largest deviation of each from the others."""
        return largest(self.own)

    def deviations(self, runs: Stack) -> Floats:
        """[runs, steps] of other runs; -inf where nothing can alarm, inf where not finite."""
        import numpy as np

        return _deviations(runs, runs.values - np.asarray(self.mean), self.mean, self.direction)


def healthy(runs: Stack, direction: Direction) -> Healthy:
    """The calibration runs by themselves."""
    import numpy as np

    finite = np.isfinite(runs.values)
    count = finite.sum(axis=0)
    total = np.where(finite, runs.values, 0.0).sum(axis=0)
    mean = np.where(count > 1, total / np.maximum(count, 1), np.nan)
    apart = (runs.values - mean) * count / np.maximum(count - 1, 1)
    own = _deviations(runs, apart, mean, direction)
    return Healthy(mean, own, direction)


def largest(deviations: Floats) -> Floats:
    """[runs] of [runs, steps]; -inf for a run without a step that can alarm."""
    import numpy as np

    return np.asarray(deviations.max(axis=1, initial=-np.inf))


def conformal_rank(count: int, rate: float) -> int:
    """Which of so many calibration runs, from the smallest up, gives the threshold; beyond `count`
    where they are too few for that rate."""
    return math.ceil(round((1 - rate) * (count + 1), 9))


def conformal_threshold(maxima: Floats, rate: float) -> float | None:
    """Largest deviation that does not alarm: with too few runs for the rate, the largest that there
    is (see `met_rate`). None without runs. Infinite where calibration runs are not finite."""
    import numpy as np

    if not len(maxima):
        return None
    rank = min(conformal_rank(len(maxima), rate), len(maxima))
    return float(np.sort(maxima)[rank - 1])


def threshold_limits(maxima: Floats, rate: float, tail: float) -> tuple[float, float]:
    """Between which the deviation lies that healthy runs exceed with a chance of `rate`: exact
    limits from order statistics, each wrong with a chance of at most `tail`. Infinite where the
    runs are too few for a limit."""
    import numpy as np
    from scipy import special

    falling, count = np.sort(maxima)[::-1], len(maxima)
    above = np.arange(count + 1)
    # with k runs or more above it, and with fewer than k
    enough = special.bdtrc(above - 1, count, rate) <= tail
    enough[0] = False
    few = special.bdtr(above - 1, count, rate) <= tail
    few[0] = True
    lower, upper = int(np.argmax(enough)), int(np.flatnonzero(few)[-1])
    low = float(falling[lower - 1]) if enough.any() else -math.inf
    return low, float(falling[upper - 1]) if upper else math.inf


def met_rate(count: int, rate: float) -> float | None:
    """The rate of false alarms that a threshold from so many runs keeps to."""
    return None if count == 0 else max(rate, 1 / (count + 1))


def upper_bound(events: int, runs: int, confidence: float) -> float | None:
    """One-sided exact upper bound of a rate; None without runs."""
    from orchestrator.statistics.proportions import exact_proportion

    return exact_proportion(events, runs, 2 * confidence - 1).high


def why_not(
    calibration: int, unseen: int, threshold: float | None, upper: float | None, allowed: float
) -> str:
    """Why a threshold is not calibrated; empty where it is."""
    if calibration < FEWEST_CALIBRATION:
        return f"it takes {FEWEST_CALIBRATION} calibration runs, and there are {calibration}"
    if unseen < FEWEST_UNSEEN:
        return f"it takes {FEWEST_UNSEEN} unseen runs, and there are {unseen}"
    if threshold == math.inf:
        return "calibration runs hold values that are not finite, which no threshold lies above"
    if threshold is None or threshold == -math.inf:
        return "no step of the calibration runs has finite values to make a threshold from"
    if upper is None or upper > allowed:
        return (
            f"up to {(1 if upper is None else upper) * 100:.1f} % of healthy runs may alarm "
            f"falsely, and {allowed * 100:g} % is allowed"
        )
    return ""


def _deviations(runs: Stack, apart: Floats, mean: Floats, direction: Direction) -> Floats:
    import numpy as np

    signed = {"above": apart, "below": -apart, "either": np.abs(apart)}[direction]
    known = np.isfinite(runs.values) & np.isfinite(mean)
    return np.where(runs.broken, np.inf, np.where(known, signed, -np.inf))
