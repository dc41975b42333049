"""Figures over the runs of one arm, with intervals: the run is the unit of replication.

**Share.** A mean of numbers in 0 to 1, one of each run. Student's t over runs, with the end on the
side of the long tail moved out by Johnson's correction for skewness (1978, Journal of the American
Statistical Association 73). Runs that hardly vary make t as narrow as one likes, whatever another
run may do: so the interval leaves room for a kind of run that n runs would not have shown, a part
q = 1 - (tail)^(1/n) of all, at the worst with a share of 0 below and of 1 above. Where all n shares
are 1 that is Clopper and Pearson's lower end for n of n runs. docs/verdicts.md says how it was
simulated.

**Runs.** Clopper and Pearson's interval.

**Median.** Order statistics of the runs (exact; ties make it wider): the largest k with
P(Binomial(n, 1/2) < k) at most the tail. Too few runs have none.

**Mean.** Student's t with Johnson's correction; none where all runs are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.intervals import Figure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def share(values: Sequence[float], confidence: float) -> Figure:
    """The mean of numbers in 0 to 1, with room for a kind of run that was not seen."""
    import numpy as np

    found = math.fsum(values) / len(values)
    low, high = share_ends(np.asarray(values, dtype=np.float64), found, confidence)
    return Figure(found, float(low), float(high))


def share_ends(x: Floats, mean: Floats | float, confidence: float) -> tuple[Floats, Floats]:
    """The ends [...] of a share's interval, of runs [..., n] with that mean."""
    import numpy as np

    n = x.shape[-1]
    unseen = 1 - ((1 - confidence) / 2) ** (1 / n)
    low, high = mean * (1 - unseen), mean + (1 - mean) * unseen
    if n > 1:
        below, above = _student(x, confidence)
        low, high = np.minimum(low, mean - below), np.maximum(high, mean + above)
    return np.maximum(0.0, low), np.minimum(1.0, high)


def median(values: Sequence[float], confidence: float) -> Figure:
    """The median, between two order statistics that hold it with at least that confidence."""
    import numpy as np

    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    k = median_rank(n, confidence)
    found = float(np.median(x))
    value = found if math.isfinite(found) else None
    if k == 0:
        return Figure(value, why=f"an interval takes {fewest_for_median(confidence)} runs")
    low, high = float(x[k - 1]), float(x[n - k])
    if not (math.isfinite(low) and math.isfinite(high)):
        return Figure(value, why="the interval is not finite")
    return Figure(value, low, high)


def median_rank(runs: int, confidence: float) -> int:
    """Which of so many runs, counted from either end, the interval of their median ends at; 0 where
    they are too few for one."""
    import numpy as np
    from scipy import special

    # the smallest of them lies below the median unless all do not: P(B < k), B of n coins
    tails = special.bdtr(np.arange(runs), runs, 0.5)
    return int((tails <= (1 - confidence) / 2).sum())


def fewest_for_median(confidence: float) -> int:
    """Runs from which a median has an interval: n with 2 (1/2)^n at most 1 - confidence."""
    return math.ceil(1 - math.log2(1 - confidence) - 1e-12)


def rate(values: Sequence[float], confidence: float) -> Figure:
    from orchestrator.statistics.proportions import exact_proportion

    found = exact_proportion(sum(value > 0 for value in values), len(values), confidence)
    return Figure(found.rate, found.low, found.high, events=found.events)


def mean(values: Sequence[float], confidence: float) -> Figure:
    import numpy as np

    x = np.asarray(values, dtype=np.float64)
    if not np.isfinite(x).all():
        return Figure(None, why="some runs are not finite")
    mean = math.fsum(values) / len(x)
    if len(x) < 2:
        return Figure(mean, why="an interval takes 2 runs")
    if float(x.max()) == float(x.min()):
        return Figure(mean, why="all runs are equal, which tells no interval of a mean")
    low, high = mean_ends(x, mean, confidence)
    return Figure(mean, float(low), float(high))


def mean_ends(x: Floats, mean: Floats | float, confidence: float) -> tuple[Floats, Floats]:
    """The ends [...] of a mean's interval, of runs [..., n] that vary and have that mean."""
    below, above = _student(x, confidence)
    return mean - below, mean + above


def _student(x: Floats, confidence: float) -> tuple[Floats, Floats]:
    """How far below and above the mean the ends lie, [...] of runs [..., n]."""
    import numpy as np

    from orchestrator.statistics.quantiles import t_upper

    n = x.shape[-1]
    times = float(t_upper((1 - confidence) / 2, n - 1))
    error = x.std(axis=-1, ddof=1) / math.sqrt(n)
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.mean(centred**2, axis=-1)
    cubes = np.mean(centred**3, axis=-1)
    skewness = np.where(spread > 0, cubes / np.where(spread > 0, spread, 1.0) ** 1.5, 0.0)
    shift = skewness * error * (1 + 2 * times**2) / (6 * math.sqrt(n))
    return times * error + np.maximum(0.0, -shift), times * error + np.maximum(0.0, shift)
