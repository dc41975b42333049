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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.claims.result import Statistic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """An estimate with its ends. `why`: why one is missing. `events`: as in `ClaimResult`."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""
    events: int | None = None


def estimate(statistic: Statistic, values: Sequence[float], confidence: float) -> Figure:
    """The figure over runs [n] of an arm; `confidence` is that of this one interval.

    NaN is a run with a value that is not finite, and then there is no figure.
    """
    if not values:
        return Figure(None)
    if strange := sum(math.isnan(value) for value in values):
        return Figure(None, why=f"{strange} of {len(values)} runs hold values that are not finite")
    if statistic == "runs":
        return _rate(values, confidence)
    if statistic == "median":
        return median(values, confidence)
    return share(values, confidence) if statistic == "share" else _mean(values, confidence)


def share(values: Sequence[float], confidence: float) -> Figure:
    """The mean of numbers in 0 to 1, with room for a kind of run that was not seen."""
    import numpy as np

    x = np.asarray(values, dtype=np.float64)
    mean, n = math.fsum(values) / len(values), len(x)
    unseen = 1 - ((1 - confidence) / 2) ** (1 / n)
    low, high = mean * (1 - unseen), mean + (1 - mean) * unseen
    if n > 1:
        below, above = _student(x, confidence)
        low, high = min(low, mean - below), max(high, mean + above)
    return Figure(mean, max(0.0, low), min(1.0, high))


def median(values: Sequence[float], confidence: float) -> Figure:
    """The median, between two order statistics that hold it with at least that confidence."""
    import numpy as np
    from scipy import special

    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    # the smallest of them lies below the median unless all do not: P(B < k), B of n coins
    tails = special.bdtr(np.arange(n), n, 0.5)
    k = int((tails <= (1 - confidence) / 2).sum())
    found = float(np.median(x))
    value = found if math.isfinite(found) else None
    if k == 0:
        return Figure(value, why=f"an interval takes {fewest_for_median(confidence)} runs")
    low, high = float(x[k - 1]), float(x[n - k])
    if not (math.isfinite(low) and math.isfinite(high)):
        return Figure(value, why="the interval is not finite")
    return Figure(value, low, high)


def fewest_for_median(confidence: float) -> int:
    """Runs from which a median has an interval: n with 2 (1/2)^n at most 1 - confidence."""
    return math.ceil(1 - math.log2(1 - confidence) - 1e-12)


def _rate(values: Sequence[float], confidence: float) -> Figure:
    from orchestrator.statistics.proportions import exact_proportion

    found = exact_proportion(sum(value > 0 for value in values), len(values), confidence)
    return Figure(found.rate, found.low, found.high, events=found.events)


def _mean(values: Sequence[float], confidence: float) -> Figure:
    import numpy as np

    x = np.asarray(values, dtype=np.float64)
    if not np.isfinite(x).all():
        return Figure(None, why="some runs are not finite")
    mean = math.fsum(values) / len(x)
    if len(x) < 2:
        return Figure(mean, why="an interval takes 2 runs")
    if float(x.max()) == float(x.min()):
        return Figure(mean, why="all runs are equal, which tells no interval of a mean")
    below, above = _student(x, confidence)
    return Figure(mean, mean - below, mean + above)


def _student(x: Floats, confidence: float) -> tuple[float, float]:
    """How far below and above the mean the ends lie."""
    import numpy as np

    from orchestrator.statistics.quantiles import t_upper

    n = len(x)
    times = float(t_upper((1 - confidence) / 2, n - 1))
    error = float(x.std(ddof=1)) / math.sqrt(n)
    centred = x - x.mean()
    spread = float(np.mean(centred**2))
    skewness = float(np.mean(centred**3)) / spread**1.5 if spread > 0 else 0.0
    shift = skewness * error * (1 + 2 * times**2) / (6 * math.sqrt(n))
    return times * error + max(0.0, -shift), times * error + max(0.0, shift)
