"""The figure of a claim over the runs of its arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.claims.result import Statistic
from orchestrator.intervals import Figure


def estimate(statistic: Statistic, values: Sequence[float], confidence: float) -> Figure:
    """The figure over runs [n] of an arm; `confidence` is that of this one interval.

    NaN is a run with a value that is not finite, and then there is no figure.
    """
    from orchestrator.statistics import over_runs

    if not values:
        return Figure(None)
    if strange := sum(math.isnan(value) for value in values):
        return Figure(None, why=f"{strange} of {len(values)} runs hold values that are not finite")
    if statistic == "runs":
        return over_runs.rate(values, confidence)
    if statistic == "median":
        return over_runs.median(values, confidence)
    if statistic == "share":
        return over_runs.share(values, confidence)
    return over_runs.mean(values, confidence)
