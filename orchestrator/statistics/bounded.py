"""Intervals of means of bounded numbers over runs, and of areas under ROC curves.

Nothing is assumed of how the numbers are spread. The ends of a mean are Gaffke's (Learned-Miller
and Thomas 2019, "A New Confidence Interval for the Mean of a Bounded Random Variable"): the upper
one is a quantile of the mean of the runs and one run more at the upper limit, under random weights
that are uniform on the simplex. Of numbers that are all at a limit or at the other it is Clopper
and Pearson's, and numbers that do not vary have an interval too: as wide as runs that were not seen
may make it. A t interval is narrower, and wrong where one run in ten is unlike the others:
docs/verdicts.md has figures. An area is a mean over pairs, and has one run more on either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from orchestrator.intervals import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 20_000
AREA_DRAWS = 4_000


def bounded_mean(
    values: Sequence[float] | Floats, low: float, high: float, confidence: float
) -> Interval:
    """The mean over runs of numbers that cannot be below `low` or above `high`.

    Raises `ValueError` for a number outside.
    """
    import numpy as np

    found = np.sort(np.asarray(values, dtype=np.float64))
    if not len(found):
        return Interval(None)
    if not (low <= found[0] and found[-1] <= high):
        raise ValueError(
            f"values must lie in {low:g} to {high:g}, got {found[0]:g} to {found[-1]:g}"
        )
    weights, tail = _weights(len(found) + 1, DRAWS, 1), (1 - confidence) / 2
    lower = np.quantile(weights @ np.append(found, low), tail)
    upper = np.quantile(weights @ np.append(found, high), 1 - tail)
    mean = float(found.mean())
    return _kept(mean, float(lower), float(upper), low, high)


def area_under_roc(
    ill: Floats, healthy: Floats, confidence: float, times: Sequence[int] | NDArray[np.int64] = (1,)
) -> Interval:
    """The chance that a number of `ill` [runs] is above one of `healthy`, ties half.

    Args:
        healthy: [runs], or [k, runs] where each run has k numbers.
        times: [k] how often each of them counts.
    """
    import numpy as np

    numbers = np.atleast_2d(healthy)
    if not ill.size or not numbers.size:
        return Interval(None)
    wins = np.zeros((len(ill), numbers.shape[1]))
    for count, row in zip(times, numbers, strict=True):
        wins += count * ((ill[:, None] > row) + 0.5 * (ill[:, None] == row))
    wins /= sum(times)
    area, tail = float(wins.mean()), (1 - confidence) / 2
    rows = _weights(len(ill) + 1, AREA_DRAWS, 1)
    columns = _weights(numbers.shape[1] + 1, AREA_DRAWS, 2)

    def end(limit: float, quantile: float) -> float:
        pairs = np.pad(wins, ((0, 1), (0, 1)), constant_values=limit)
        return float(np.quantile(((rows @ pairs) * columns).sum(axis=1), quantile))

    return _kept(area, end(0.0, tail), end(1.0, 1 - tail), 0.0, 1.0)


def _kept(value: float, lower: float, upper: float, low: float, high: float) -> Interval:
    """Ends that a rounding error moved past the estimate, or past a limit, are put back."""
    ends = max(low, min(value, lower)), min(high, max(value, upper))
    return Interval(float(value), float(ends[0]), float(ends[1]))


@lru_cache(maxsize=16)
def _weights(count: int, draws: int, seed: int) -> Floats:
    """[draws, count] uniform on the simplex; always the same."""
    import numpy as np

    drawn = np.random.default_rng(seed).standard_exponential((draws, count))
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))
