"""Exact intervals for rates: collapses, divergences, alarms, false positives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Proportion:
    """``events`` of ``trials`` with an exact interval; all None where there were no trials."""

    events: int
    trials: int
    rate: float | None
    low: float | None
    high: float | None


@lru_cache(maxsize=4096)
def exact_proportion(events: int, trials: int, confidence: float = 0.95) -> Proportion:
    """Clopper and Pearson's interval (1934, Biometrika 26): conservative, never too narrow.

    Raises:
        ValueError: events outside 0..trials, or confidence outside (0, 1).
    """
    if not 0 <= events <= trials:
        raise ValueError(f"events must lie in 0..{trials}, got {events}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if trials == 0:
        return Proportion(0, 0, None, None, None)
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(events, trials, 1.0 - confidence, method="beta")
    return Proportion(events, trials, events / trials, float(low), float(high))
