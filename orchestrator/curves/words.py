"""Crossings, widths and values of curves in words: what is censored is said, never guessed."""

from __future__ import annotations

from orchestrator.curves.curve import Crossing, Curve, Width
from orchestrator.verdict.numbers import MISSING

DIGITS = 3


def number(value: float | None) -> str:
    """Three significant digits without an exponent where that can be read; "n/a" for None."""
    if value is None:
        return MISSING
    return f"{value:.{DIGITS}g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def signed_number(value: float | None) -> str:
    """As `number`, with its sign."""
    text = number(value)
    return text if value is None or text.startswith("-") or value == 0 else f"+{text}"


def crossing_text(found: Crossing | None, curve: Curve) -> str:
    """`0.62 [0.58, 0.66]`, `below 0.005`, `never within 0.005 to 1`."""
    if found is None:
        return MISSING
    first, last = curve.points[0].value, curve.points[-1].value
    at = number(found.at)
    if found.at is None:
        below = found.outside == "below"
        at = f"below {first:g}" if below else f"never within {first:g} to {last:g}"
    return f"{at} {_ends(found, first, last)}".rstrip()


def _ends(found: Crossing, first: float, last: float) -> str:
    if found.at is None and (found.open_low or found.open_high) and found.low == found.high:
        return ""
    if found.open_low and found.open_high:
        return "[no interval]"
    low = f"below {first:g}" if found.open_low else number(found.low)
    high = f"not within {last:g}" if found.open_high else number(found.high)
    if MISSING in (low, high):
        return ""
    return f"[{low}, {high}]"


def width_text(found: Width | None) -> str:
    """`0.31 [0.25, 0.38]`, or `at least 0.31 [0.25, …)` where an end may lie outside the grid."""
    if found is None or found.value is None:
        return MISSING
    if found.censored:
        low = f" [{number(found.low)}, …)" if found.low is not None else ""
        return f"at least {number(found.value)}{low}"
    if found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def difference_text(value: float | None, low: float | None, high: float | None) -> str:
    """`+0.12 [+0.05, +0.19]`; an open end is `…`, and without an interval there is none."""
    if low is None and high is None:
        return signed_number(value)
    left = "(…" if low is None else f"[{signed_number(low)}"
    right = "…)" if high is None else f"{signed_number(high)}]"
    return f"{signed_number(value)} {left}, {right}"
