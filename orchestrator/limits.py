"""Ends of intervals within what a figure can be: they cover no less there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.contract import Workload

Limits = tuple[float | None, float | None]
"""What a figure cannot be below and above; None: no limit."""
NO_LIMITS: Limits = (None, None)


def clipped(end: float | None, limits: Limits) -> float | None:
    """An end of an interval within what the metric can be: it covers no less."""
    low, high = limits
    if end is None:
        return None
    end = end if low is None else max(low, end)
    return end if high is None else min(high, end)


def ends_within(
    value: float | None, low: float | None, high: float | None, limits: Limits
) -> Limits:
    """Both ends, which never part from the figure between them: one may round to beyond a limit."""
    low, high = clipped(low, limits), clipped(high, limits)
    if value is None or low is None or high is None:
        return low, high
    return min(low, value), max(high, value)


def column_limits(workload: Workload[Any], column: str) -> Limits:
    """Of a column of the scores: as the workload declares it, else of its metric of that name."""
    if column in workload.score_limits:
        return workload.score_limits[column]
    metric = workload.metrics.get(column)
    return NO_LIMITS if metric is None else metric.limits


def difference_limits(limits: Limits) -> Limits:
    """Of the difference of two figures with these limits: none unless both are there.

    >>> difference_limits((0.0, 1.0)), difference_limits((0.0, None))
    ((-1.0, 1.0), (None, None))
    """
    low, high = limits
    return NO_LIMITS if low is None or high is None else (low - high, high - low)
