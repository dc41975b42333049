"""Names for ranges of the order parameter, as the source has them. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

Tone = Literal["tension", "responsibility", "spiral", "joy", "intimacy", "unformed"]
TONES: tuple[Tone, ...] = get_args(Tone)
"""From the most synchronous to the least."""
GOLDILOCKS: Tone = "spiral"
"""The range that the source calls just right: 0.40 to 0.55, both ends in it."""
_DIGITS = 6
"""Models compute in float32, where an R that is held at 0.3 is 0.29999998."""


def tone_of(r: float) -> Tone:
    """The tone of an order parameter. Raises `ValueError` where it is not one."""
    if not 0 <= r <= 1:
        raise ValueError(f"R is {r}, and lies between 0 and 1")
    if r > 0.8:
        return "tension"
    if r > 0.55:
        return "responsibility"
    if r >= 0.40:
        return "spiral"
    if r >= 0.30:
        return "joy"
    return "intimacy" if r >= 0.10 else "unformed"


def residence(rs: Iterable[float]) -> dict[Tone, float]:
    """The share of the values, rounded to 1e-6, that are in each tone, 0 to 1; all are named.

    Values that are NaN were not measured and do not count. Empty where nothing was measured: there
    is no share of nothing. Raises `ValueError` for any other value that is no order parameter.
    """
    found = [tone_of(round(r, _DIGITS)) for r in rs if not math.isnan(r)]
    return {tone: found.count(tone) / len(found) for tone in TONES} if found else {}
