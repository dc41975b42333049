"""The floor-corrected ratio (control - floor) / (reference - floor), with Fieller's interval.

Fieller (1954, JRSS B 16): the interval holds every r for which the contrast
``control - r * reference - (1 - r) * floor`` does not differ from 0. It needs no linearisation, and
it says so when the denominator may be 0 (then there is no bounded interval), where the delta method
would give a narrow wrong one. The arms share their questions, which the contrast's variance knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.statistics.contrasts import contrast
from orchestrator.statistics.moments import Moments


@dataclass(frozen=True)
class RatioInterval:
    """A ratio with its ends; ends are None where the interval is not estimable or not bounded."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def floor_corrected_ratio(
    control: Moments, reference: Moments, floor: Moments, confidence: float = 0.90
) -> RatioInterval:
    """Fieller's two-sided interval, at ``confidence``, of (control - floor) / (reference - floor).

    Its lower end alone is a one-sided bound at ``(1 + confidence) / 2``.
    """
    room = contrast([reference, floor], [1.0, -1.0])
    if float(room.value) <= 0.0:
        return RatioInterval(None, None, None, "the reference does not score above the floor")
    ratio = float(contrast([control, floor], [1.0, -1.0]).value) / float(room.value)
    lowest, _ = room.interval(confidence)
    if lowest != lowest:
        return RatioInterval(ratio, None, None, "an interval needs two seeds and two clusters")
    if float(lowest) <= 0.0:
        reason = "the reference is not clearly above the floor, so the ratio is unbounded"
        return RatioInterval(ratio, None, None, reason)

    def outside(r: float) -> float:
        one = contrast([control, reference, floor], [1.0, -r, r - 1.0])
        return abs(float(one.value)) - float(one.half_width(confidence))

    if outside(ratio) != outside(ratio):
        return RatioInterval(ratio, None, None, "an interval needs two seeds and two clusters")
    low, high = _end(outside, ratio, -1.0), _end(outside, ratio, 1.0)
    if low is None or high is None:
        return RatioInterval(ratio, low, high, "the ratio has no bounded interval")
    return RatioInterval(ratio, low, high)


def _end(outside: Callable[[float], float], start: float, direction: float) -> float | None:
    """Where ``outside`` first turns positive, walking from ``start``; None within 1e6."""
    from scipy import optimize

    if outside(start) >= 0.0:
        return start
    inner, step = start, 0.01
    while step < 1e6:
        outer = start + direction * step
        if outside(outer) > 0.0:
            return float(optimize.brentq(outside, inner, outer, xtol=1e-9))
        inner, step = outer, step * 1.5
    return None
