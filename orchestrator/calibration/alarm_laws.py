"""Runs of known laws: healthy series that hang together over steps, and faults that drift.

Studies are drawn from very many runs that stand for all there are, so that what is true of them,
at whatever thresholds, is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.alarms.rule import Direction
    from orchestrator.alarms.series import Stack

    Floats = NDArray[np.float64]

ONSET = 0.2
"""The part of all steps after which faults begin to drift."""
CROSSING = 40
"""Slopes are per so many steps of a run: of a longer run each step is a smaller part."""


@dataclass(frozen=True)
class Law:
    """How healthy runs vary: autoregressive, with normal steps or ones with heavy tails (Student's
    t with 3 degrees of freedom). `share` of a step's noise lasts to the next."""

    heavy: bool = False
    share: float = 0.8

    def draw(self, runs: int, steps: int, rng: np.random.Generator) -> Floats:
        """[runs, steps] of standard size."""
        import numpy as np

        shape = (runs, steps)
        noise = rng.standard_t(3, shape) / math.sqrt(3) if self.heavy else rng.normal(size=shape)
        found = np.empty(shape)
        found[:, 0] = noise[:, 0]
        for at in range(1, steps):
            found[:, at] = self.share * found[:, at - 1]
            found[:, at] += math.sqrt(1 - self.share**2) * noise[:, at]
        return found


@dataclass(frozen=True)
class Fault:
    """A drift of so much of the threshold per step of forty; `scatter`: of its logarithm over runs.
    `noise`: of what healthy runs do, what is left."""

    slope: float = 0.2
    scatter: float = 0.3
    noise: float = 0.2
    slopes: tuple[float, float] = field(default=(1.0, 1.0))
    """Times so much, for each of the signals."""

    def drift(self, runs: int, steps: int, which: int, rng: np.random.Generator) -> Floats:
        """[runs, steps] of one of the signals, in thresholds."""
        import numpy as np

        slope = self.slope * self.slopes[which] * CROSSING / steps
        by_run = slope * np.exp(self.scatter * rng.normal(size=(runs, 1)))
        return np.asarray(np.maximum(0, np.arange(steps) - int(ONSET * steps)) * by_run)


def stacked(values: Floats) -> Stack:
    """Values [runs, steps] at steps from 0 on; NaN was not measured."""
    import numpy as np

    from orchestrator.alarms.series import Stack

    return Stack(np.arange(values.shape[1], dtype=np.int64), values, ~np.isnan(values))


def step_means(values: Floats) -> Floats:
    """[steps] of runs [runs, steps] that were measured there; NaN where none was."""
    import numpy as np

    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count, total / np.maximum(count, 1), np.nan))


@dataclass(frozen=True, eq=False)
class Runs:
    """All the runs that there are, of one signal: `healthy` and `faulty` [runs, steps].

    `level` is the deviation from the mean that healthy runs exceed with a chance of the study's
    rate, and `largest` [runs] the largest of each healthy run.
    """

    healthy: Floats
    faulty: Floats
    direction: Direction
    level: float
    largest: Floats

    @classmethod
    def of(
        cls,
        healthy: Floats,
        fault: Fault,
        which: int,
        rate: float,
        direction: Direction,
        rng: np.random.Generator,
        runs: int | None = None,
    ) -> Runs:
        """Faulty runs are healthy ones (or `runs` that begin with them) whose deviations shrink to
        the noise of the fault, with its drift."""
        import numpy as np

        from orchestrator.alarms.thresholds import largest

        mean = step_means(healthy)
        apart = healthy - mean
        signed = {"above": apart, "below": -apart, "either": np.abs(apart)}[direction]
        most = largest(np.where(np.isnan(signed), -np.inf, signed))
        level = float(np.quantile(most, 1 - rate, method="higher"))
        count = len(healthy) if runs is None else runs
        sign = -1.0 if direction == "below" else 1.0
        drift = sign * level * fault.drift(count, healthy.shape[1], which, rng)
        some = apart[np.arange(count) % len(apart)]
        return cls(healthy, mean + fault.noise * some + drift, direction, level, most)

    def false_rate(self, limit: float) -> float:
        """The share of healthy runs that deviate by more."""
        return float((self.largest > limit).mean())
