"""Runs of known laws: healthy series that hang together over steps, and faults that drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.alarms.alarming import alarm_steps
from orchestrator.alarms.racing import Races, race
from orchestrator.alarms.rule import AlarmRule, Signal
from orchestrator.alarms.series import ArmRuns, Run, Series
from orchestrator.alarms.thresholds import (
    Healthy,
    conformal_threshold,
    healthy,
    largest,
    threshold_limits,
)
from orchestrator.calibration.alarm_laws import Fault, Law, stacked

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


def level_of(law: Law, runs: int = 20_000) -> float:
    """The deviation that a healthy run exceeds with a chance of `RATE`."""
    drawn = law.draw(runs, len(STEPS), np.random.default_rng(5))
    return float(np.quantile(healthy(stacked(drawn), "either").largest, 1 - RATE))


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
        known = healthy(stacked(law.draw(CALIBRATION, len(STEPS), rng)), "either")
        unseen = largest(known.deviations(stacked(law.draw(UNSEEN, len(STEPS), rng))))
        limit = conformal_threshold(known.largest, RATE)
        assert limit is not None
        limits = threshold_limits(np.concatenate([known.largest, unseen]), RATE, 0.025)
        return cls(law, level, known, unseen, limit, limits)


def races(fault: Fault, watches: tuple[Watch, Watch], rng: np.random.Generator) -> Races:
    """Who is first in 20 runs: with equal slopes neither is, at the thresholds of exactly the
    rate."""
    found = []
    for which, watch in enumerate(watches):
        drift = watch.level * fault.drift(RUNS, len(STEPS), which, rng)
        values = fault.noise * watch.law.draw(RUNS, len(STEPS), rng) + drift
        found.append(watch.known.deviations(stacked(values)))

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
