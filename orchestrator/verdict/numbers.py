"""How numbers are shown: with the decimals that the first band needs, and "n/a" if missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "n/a"
MOST_PLACES = 6


def decimals(bands: Sequence[tuple[float, str]]) -> int:
    """Decimals that show a tenth of the first band: 1 for a band at 2, 3 for one at 0.02."""
    if not bands:
        return 1
    return min(MOST_PLACES, max(1, math.ceil(-math.log10(bands[0][0])) + 1))


def telling(ends: Sequence[float | None], edges: Sequence[float], places: int) -> int:
    """The decimals, `places` at least and `MOST_PLACES` at most, with which ends of an interval are
    printed on the side of the edges on which they lie: +0.004 beside an edge at 0 needs three.
    """
    known = [end for end in ends if end is not None and math.isfinite(end)]

    def agrees(count: int) -> bool:
        return all(
            (round(end, count) > round(edge, count)) == (end > edge)
            and (round(end, count) < round(edge, count)) == (end < edge)
            for end in known
            for edge in edges
        )

    return next((count for count in range(places, MOST_PLACES) if agrees(count)), MOST_PLACES)


def shown(value: float | None, places: int = 1) -> str:
    """A number, or "n/a"."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{round(value, places) + 0.0:.{places}f}"


def signed(value: float | None, places: int = 1) -> str:
    """A difference with its sign, or "n/a"."""
    text = shown(value, places)
    return text if text == MISSING or text.startswith("-") else f"+{text}"


def interval(low: float | None, high: float | None, places: int = 1, sign: bool = False) -> str:
    """Both ends in brackets, or "n/a" where either is missing."""
    if low is None or high is None:
        return MISSING
    show = signed if sign else shown
    return f"[{show(low, places)}, {show(high, places)}]"
