"""What counts as an anomaly: thresholds and running averages, for alerts and dense traces alike.

Thresholds are strict: a value at one is no anomaly. Imports no library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOSS_SPIKE = 2.0
"""Times the running average of the loss."""
GRADIENT_EXPLOSION = 100.0
"""Times the running average of the gradient norm."""
LEAST_GRADIENT_NORM = 0.01
"""Where the average of gradient norms starts at least: after a tiny first one, all would explode.
"""
ACCURACY_DROP = 5.0
"""Points, from one epoch to the next."""
VALUE_COLLAPSE_STD = 0.01
"""Of the critic's predictions: a mean of several standard deviations below it is collapse."""
VALUE_STD_WINDOW = 3
"""How many standard deviations that mean is of."""
ENTROPY_COLLAPSE = 0.1
"""Policy entropy, nats."""
ALPHA = 0.1
"""Weight of a new value in a running average."""
FORCED = "forced"
"""The reason of a dense trace that was asked for, which is no anomaly."""


@dataclass
class RunningAverage:
    """An exponential moving average. What is None or not finite leaves it as it is."""

    alpha: float = ALPHA
    value: float | None = None
    """None before the first value."""

    def add(self, value: float | None, *, least: float = -math.inf) -> float | None:
        """Takes a value in; gives the average as it was before. It starts at `least` or above."""
        before = self.value
        if value is not None and math.isfinite(value):
            if before is None:
                self.value = max(value, least)
            else:
                self.value = before + self.alpha * (value - before)
        return before

    def times(self, value: float, *, least: float = -math.inf) -> float | None:
        """`value` as a multiple of the average so far, which it then enters.

        None for the first, for what is not finite, and where the average is not above 0 and a
        multiple says nothing.
        """
        before = self.add(value, least=least)
        if before is None or not before > 0 or not math.isfinite(value):
            return None
        return value / before


def values_collapsed(
    stds: Sequence[float], below: float = VALUE_COLLAPSE_STD, window: int = VALUE_STD_WINDOW
) -> bool | None:
    """Whether a critic says the same of every state, by its last standard deviations.

    None with fewer than `window` of them.
    """
    last = stds[-window:]
    return math.fsum(last) / window < below if len(last) == window else None
