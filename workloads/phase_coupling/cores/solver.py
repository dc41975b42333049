"""Phases that have a given order parameter, exactly. Torch is imported where it is used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_HALVINGS = 100


def spaced_order(gap: float, oscillators: int) -> float:
    """R of phases `gap` radians apart: |sin(N gap / 2) / (N sin(gap / 2))|, 1 for no gap."""
    below = oscillators * math.sin(gap / 2)
    return abs(math.sin(oscillators * gap / 2) / below) if below else 1.0


def gap_for(r: float, oscillators: int) -> float:
    """The gap, in [0, 2 pi / N], at which so many evenly spaced phases have the order parameter r.

    R falls from 1 to 0 over that range, so there is one. Raises `ValueError` for a target outside
    (0, 1) and for fewer than two oscillators.
    """
    check_target(r)
    check_oscillators(oscillators)
    low, high = 0.0, math.tau / oscillators
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spaced_order(middle, oscillators) > r else (low, middle)
    return (low + high) / 2


def phases_for(r: float, oscillators: int) -> torch.Tensor:
    """Evenly spaced phases [N] around 0, in float64, whose order parameter is r within 1e-6.

    Raises `ValueError` for a target outside (0, 1) and for fewer than two oscillators.
    """
    import torch

    gap = gap_for(r, oscillators)
    return gap * (torch.arange(oscillators, dtype=torch.float64) - (oscillators - 1) / 2)


def check_target(r: float) -> None:
    """Raises `ValueError` unless 0 < r < 1."""
    if not 0 < r < 1:
        raise ValueError(
            f"the target order parameter is {r}; valid: between 0 and 1, neither of them (0.3)"
        )


def check_oscillators(oscillators: int) -> None:
    """Raises `ValueError` for fewer than two: one alone is always in step with itself."""
    if oscillators < 2:
        raise ValueError(f"{oscillators} oscillators have no order to speak of; valid: 2 or more")
