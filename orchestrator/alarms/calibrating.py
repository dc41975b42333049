"""Signals with their thresholds, made from calibration runs and checked on unseen ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.alarms.result import Threshold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.alarms.series import ArmRuns, Run
    from orchestrator.alarms.thresholds import Healthy

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Watched:
    """One signal as it is watched for.

    Attributes:
        healthy: the calibration runs that have it.
        fresh: [runs, steps] deviations of the unseen runs.
        unseen: [runs] the largest of each.
        limit: the threshold; infinite where there is none, so that nothing but a missing threshold
            keeps an alarm from being raised.
        lenient, strict: limits of the threshold that has exactly the study's rate.
        threshold: the same with its check.
    """

    name: str
    steps: NDArray[np.int64]
    healthy: Healthy
    fresh: Floats
    unseen: Floats
    limit: float
    lenient: float
    strict: float
    threshold: Threshold

    @property
    def has_threshold(self) -> bool:
        """Whether there is a finite one."""
        return self.threshold.threshold is not None

    def deviations(self, runs: Sequence[Run]) -> Floats:
        """[runs, steps] of runs that have the signal."""
        from orchestrator.alarms.series import stack

        return self.healthy.deviations(stack([one.signals[self.name] for one in runs], self.steps))

    def able(self, runs: Sequence[Run]) -> list[Run]:
        """Those that could alarm, from the onset on: at a step that was measured and for which
        healthy runs tell what to expect. Of a run that could not, silence says nothing."""
        import numpy as np

        from orchestrator.alarms.alarming import from_onset
        from orchestrator.alarms.series import onsets_of
        from orchestrator.alarms.thresholds import largest

        there = having(runs, self.name)
        onsets = onsets_of(there, self.steps)
        most = largest(from_onset(self.deviations(there), self.steps, onsets))
        return [run for run, one in zip(there, most, strict=True) if one > -np.inf]

    def beyond(self, runs: Sequence[Run]) -> tuple[int, int] | None:
        """The first and last step, after all those for which healthy runs tell what to expect, that
        any of these runs was measured at; None without."""
        import numpy as np

        known = np.flatnonzero(np.isfinite(self.healthy.mean))
        last = self.steps[known[-1]] if len(known) else -1
        after = [
            step
            for run in having(runs, self.name)
            for step in run.signals[self.name].steps[run.signals[self.name].measured]
            if step > last
        ]
        return (int(min(after)), int(max(after))) if after else None

    def unseen_from(self, onsets: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Largest deviations of the unseen runs from each of these onsets [n] on: [k, runs] for the
        k onsets that differ, and how often each is there [k]."""
        import numpy as np

        from orchestrator.alarms.alarming import from_onset
        from orchestrator.alarms.thresholds import largest

        found, counts = np.unique(onsets, return_counts=True)
        begin = np.ones(len(self.fresh))
        cut = [largest(from_onset(self.fresh, self.steps, one * begin)) for one in found]
        return np.array(cut).reshape(len(found), len(self.fresh)), counts

    def limit_for(self, rate: float) -> float | None:
        """The threshold for another rate; None where there are too few calibration runs for it."""
        from orchestrator.alarms.thresholds import conformal_rank, conformal_threshold

        count = len(self.healthy.largest)
        enough = conformal_rank(count, rate) <= count
        return conformal_threshold(self.healthy.largest, rate) if enough else None

    def false_rate(self, limit: float) -> float | None:
        """The share of unseen runs that alarm at a threshold; None without any."""
        return float((self.unseen > limit).mean()) if len(self.unseen) else None


def having(runs: Sequence[Run], *signals: str) -> list[Run]:
    """The runs in which all of these signals were measured at any step."""
    return [
        one
        for one in runs
        if all(name in one.signals and one.signals[name].measured.any() for name in signals)
    ]


def watched(
    rule: AlarmRule, name: str, calibration: ArmRuns, unseen: ArmRuns, steps: NDArray[np.int64]
) -> Watched:
    """A signal with its threshold for the study's rate."""
    import numpy as np

    from orchestrator.alarms.racing import rate_of
    from orchestrator.alarms.series import stack
    from orchestrator.alarms.thresholds import (
        conformal_threshold,
        healthy,
        largest,
        met_rate,
        threshold_limits,
        upper_bound,
        why_not,
    )

    signal = rule.signals[name]
    made_from = stack([run.signals[name] for run in having(calibration.runs, name)], steps)
    fresh = stack([run.signals[name] for run in having(unseen.runs, name)], steps)
    known = healthy(made_from, signal.direction)
    threshold = conformal_threshold(known.largest, rule.rate)
    limit = math.inf if threshold is None else threshold
    deviations = known.deviations(fresh)
    deviations = deviations[largest(deviations) > -np.inf]  # one that cannot alarm checks nothing
    maxima = largest(deviations)
    count, checked = len(known.largest), len(maxima)
    tail = (1 - rule.confidence) / 2
    everyone = np.concatenate([known.largest, maxima])
    lenient, strict = threshold_limits(everyone, rule.rate, tail)
    usable = threshold if threshold is not None and math.isfinite(threshold) else None
    held = 0 if usable is None else checked
    false = int((maxima > limit).sum())
    upper = upper_bound(false, held, rule.confidence)
    why = why_not(count, checked, threshold, upper, rule.allowed)
    low, high = _limits(known.mean, usable, signal.direction)
    return Watched(
        name,
        steps,
        known,
        deviations,
        maxima,
        limit,
        lenient,
        strict,
        Threshold(
            signal=name,
            column=signal.column,
            direction=signal.direction,
            threshold=usable,
            target=met_rate(count, rule.rate),
            calibration_runs=count,
            unseen_runs=checked,
            false_alarms=rate_of(false, held, rule.confidence),
            upper=upper,
            calibrated=not why,
            why=why,
            about=signal.about,
            mean=numbers(known.mean),
            low=low,
            high=high,
            first_step=_first(known.mean, steps),
            at_least=lenient if math.isfinite(lenient) else None,
            at_most=strict if math.isfinite(strict) else None,
        ),
    )


def numbers(values: Floats) -> tuple[float | None, ...]:
    """As plain numbers, None for what is not finite."""
    return tuple(one if math.isfinite(one) else None for one in values.tolist())


def _limits(
    mean: Floats, threshold: float | None, direction: str
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    none = (None,) * len(mean)
    if threshold is None:
        return none, none
    low = none if direction == "above" else numbers(mean - threshold)
    high = none if direction == "below" else numbers(mean + threshold)
    return low, high


def _first(mean: Floats, steps: NDArray[np.int64]) -> int | None:
    import numpy as np

    known = np.flatnonzero(np.isfinite(mean))
    return int(steps[known[0]]) if len(known) else None
