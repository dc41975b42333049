"""Runs of known laws: healthy series that hang together over steps, and faults that drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.alarms.alarming import alarm_steps
from orchestrator.alarms.racing import Races, race
from orchestrator.alarms.rule import AlarmRule, Signal
from orchestrator.alarms.series import ArmRuns, Run, Series, Stack
from orchestrator.alarms.thresholds import (
    Healthy,
    conformal_threshold,
    healthy,
    largest,
    threshold_limits,
)

Floats = NDArray[np.float64]

STEPS = np.arange(40)
RATE = 0.02
CALIBRATION, UNSEEN, RUNS = 99, 200, 20


def rule(**changes: object) -> AlarmRule:
    """Structure against loss, as a study file would say it."""
    given = {
        "signals": {"structure": Signal(column="ratio"), "loss": Signal(column="loss")},
        "first": "structure",
        "than": "loss",
        "calibration": "healthy",
        "unseen": "unseen",
        **changes,
    }
    return AlarmRule.model_validate(given)


def arm(name: str, seeds: Sequence[int], onset: int | None = None, **shifts: int) -> ArmRuns:
    """Runs of 40 steps whose signals jump at a step (`loss=12`); structure begins at step 5."""
    runs = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        signals = {}
        for signal in ("structure", "loss"):
            values: list[float | None] = [
                float(x) + 20 * (step >= shifts.get(signal, 99))
                for step, x in enumerate(rng.normal(size=len(STEPS)))
            ]
            if signal == "structure":
                values[:5] = [None] * 5
            signals[signal] = Series.of(values)
        runs.append(Run(seed, f"{name}-{seed}", signals, onset))
    return ArmRuns(name, tuple(runs), planned=len(runs))


def stacked(values: Floats) -> Stack:
    """Values [runs, steps], all measured."""
    return Stack(STEPS.astype(np.int64), values, np.ones(values.shape, dtype=bool))


@dataclass(frozen=True)
class Law:
    """How healthy runs vary: autoregressive, with normal steps or ones with heavy tails (Student's
    t with 3 degrees of freedom). `share` of a step's noise lasts to the next."""

    heavy: bool = False
    share: float = 0.8

    def draw(self, runs: int, rng: np.random.Generator) -> Floats:
        """[runs, steps] of standard size."""
        shape = (runs, len(STEPS))
        steps = rng.standard_t(3, shape) / math.sqrt(3) if self.heavy else rng.normal(size=shape)
        found = np.empty(shape)
        found[:, 0] = steps[:, 0]
        for at in range(1, len(STEPS)):
            found[:, at] = (
                self.share * found[:, at - 1] + math.sqrt(1 - self.share**2) * steps[:, at]
            )
        return found

    def level(self, runs: int = 20_000) -> float:
        """The deviation that a healthy run exceeds with a chance of `RATE`."""
        maxima = healthy(stacked(self.draw(runs, np.random.default_rng(5))), "either").largest
        return float(np.quantile(maxima, 1 - RATE))


@dataclass(frozen=True)
class Watch:
    """A signal with thresholds from simulated healthy runs."""

    law: Law
    level: float
    known: Healthy
    unseen: Floats
    limit: float
    limits: tuple[float, float]

    @classmethod
    def of(cls, law: Law, level: float, rng: np.random.Generator) -> Watch:
        known = healthy(stacked(law.draw(CALIBRATION, rng)), "either")
        unseen = largest(known.deviations(stacked(law.draw(UNSEEN, rng))))
        limit = conformal_threshold(known.largest, RATE)
        assert limit is not None
        limits = threshold_limits(np.concatenate([known.largest, unseen]), RATE, 0.025)
        return cls(law, level, known, unseen, limit, limits)


@dataclass(frozen=True)
class Fault:
    """A drift of so much of the level per step, from step 8 on; `scatter`: of its logarithm over
    runs. `noise`: of the healthy law, what is left."""

    slope: float = 0.2
    scatter: float = 0.3
    noise: float = 0.2
    slopes: tuple[float, float] = field(default=(1.0, 1.0))
    """Times so much, for each of the signals."""

    def deviations(self, watch: Watch, times: float, rng: np.random.Generator) -> Floats:
        slope = self.slope * times * np.exp(self.scatter * rng.normal(size=(RUNS, 1)))
        drift = np.maximum(0, STEPS - 8) * slope * watch.level
        return watch.known.deviations(stacked(self.noise * watch.law.draw(RUNS, rng) + drift))

    def races(self, watches: tuple[Watch, Watch], rng: np.random.Generator) -> Races:
        """Who is first in 20 runs: with equal slopes neither is, at the thresholds of exactly the
        rate."""
        found = [
            self.deviations(w, times, rng) for w, times in zip(watches, self.slopes, strict=True)
        ]

        def at(limits: tuple[float, float]) -> tuple[Floats, Floats]:
            one, other = (
                alarm_steps(d, STEPS.astype(np.int64), limit)
                for d, limit in zip(found, limits, strict=True)
            )
            return one, other

        one, other = watches
        return Races(
            race(*at((one.limit, other.limit))),
            race(*at((one.limits[0], other.limits[1]))),
            race(*at((one.limits[1], other.limits[0]))),
        )
