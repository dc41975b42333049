"""How numbers are shown: with the decimals that the first band needs, and "n/a" if missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "n/a"


def decimals(bands: Sequence[tuple[float, str]]) -> int:
    """Decimals that show a tenth of the first band: 1 for a band at 2, 3 for one at 0.02."""
    if not bands:
        return 1
    return min(6, max(1, math.ceil(-math.log10(bands[0][0])) + 1))


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
