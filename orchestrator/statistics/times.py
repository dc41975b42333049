"""Times to an alarm over runs, of which some never alarm.

Nothing is assumed of how times are spread: a median's interval is that of order statistics, with
the coverage of the binomial law or more (David and Nagaraja 2003, Order Statistics, 7.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.intervals import Interval, Median

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def median_time(times: Floats, confidence: float) -> Median:
    """The first time [runs] by which half of the runs alarmed; infinite: never.

    The interval is open at an end that lies beyond the last step, and absent where so few runs
    have none at this confidence (5 for 95 %).
    """
    import numpy as np

    count = len(times)
    if not count:
        return Median(None)
    ordered = np.sort(times)
    at = float(ordered[(count - 1) // 2])
    reached = bool(np.isfinite(at))
    value = at if reached else None
    rank = order_rank(count, confidence)
    if rank == 0:
        return Median(value, reached)
    low, high = float(ordered[rank - 1]), float(ordered[count - rank])
    open_low, open_high = not np.isfinite(low), not np.isfinite(high)
    return Median(
        value,
        reached,
        None if open_low else low,
        None if open_high else high,
        open_low,
        open_high,
    )


def median_of(values: Floats, confidence: float) -> Interval:
    """The median of finite numbers [runs] (of an even number of them the middle of both), with the
    same interval."""
    import numpy as np

    if not len(values):
        return Interval(None)
    ordered, rank = np.sort(values), order_rank(len(values), confidence)
    middle = float(np.median(ordered))
    if rank == 0:
        return Interval(middle)
    return Interval(middle, float(ordered[rank - 1]), float(ordered[-rank]))


def order_rank(count: int, confidence: float) -> int:
    """The k for which the k-th smallest and the k-th largest of so many enclose the median at this
    confidence or more, whatever the law; 0 where there is none."""
    from scipy import special

    tail = (1 - confidence) / 2
    rank = 0
    while rank < count // 2 and float(special.bdtr(rank, count, 0.5)) <= tail:
        rank += 1
    return rank
