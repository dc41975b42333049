"""How far a seed is blended in after so many steps: alpha, from 0 to 1.

The third blend, `gated`, adds a gate that is learned for each sample (`slot.Slot`).
"""

from __future__ import annotations

import math
from typing import get_args

from workloads.morphogenesis.config import Blend

BLENDS: tuple[Blend, ...] = get_args(Blend)


def alpha_schedule(step: int, steps: int, temperature: float = 1.0) -> float:
    """sigmoid((step - steps / 2) / temperature), but 0 at the start and 1 at the end.

    A temperature of steps / 12 makes it the sigmoid from -6 to 6.

    >>> [round(alpha_schedule(step, 5), 3) for step in range(6)]
    [0.0, 0.182, 0.378, 0.622, 0.818, 1.0]
    """
    if step <= 0:
        return 0.0
    if step >= steps:
        return 1.0
    x = (step - steps / 2) / temperature
    grown = math.exp(-abs(x))  # never above 1, however low the temperature
    return 1.0 / (1.0 + grown) if x >= 0 else grown / (1.0 + grown)


def blend_alpha(blend: Blend, step: int, steps: int, temperature: float = 1.0) -> float:
    """Alpha after `step` of `steps`: the schedule for `sigmoid`, else a straight line.

    Raises ValueError for a blend that there is not.
    """
    check_blend(blend)
    if blend == "sigmoid":
        return alpha_schedule(step, steps, temperature)
    return min(1.0, max(0.0, step / steps))


def check_blend(blend: str) -> None:
    """Refuses (ValueError) a name that is no blend."""
    if blend not in BLENDS:
        raise ValueError(f"no blend {blend!r}; blends: {', '.join(BLENDS)}")
