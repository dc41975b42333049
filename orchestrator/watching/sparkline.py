"""A trajectory in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
BROKEN = "×"


def sparkline(values: Sequence[float], width: int) -> str:
    """At most `width` characters from the first value to the last; NaN and infinities are `×`.

    >>> sparkline([1.0, 2.0, float("nan"), 8.0], 4)
    '▁▂×█'
    """
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    last = len(values) - 1
    taken = [values[round(i * last / max(1, count - 1))] for i in range(count)]
    if count == 1:
        taken = [values[-1]]
    finite = [value for value in taken if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = (high - low) or 1.0
    return "".join(
        BARS[round((value - low) / span * (len(BARS) - 1))] if math.isfinite(value) else BROKEN
        for value in taken
    )
