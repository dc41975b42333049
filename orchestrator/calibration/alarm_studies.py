"""One study of alarms, drawn from all runs and judged by the functions of `orchestrator.alarms`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.calibration.alarm_laws import Runs, stacked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.alarms.racing import Races
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.alarms.thresholds import Healthy

    Floats = NDArray[np.float64]
    Picked = NDArray[np.intp]


@dataclass(frozen=True)
class Setting:
    """What a study asks and has: runs that make thresholds and that check them, and of each arm
    with a fault whose signal is not made."""

    rule: AlarmRule
    steps: int
    calibration: int
    unseen: int
    arms: tuple[int, ...]

    @property
    def arm_confidence(self) -> float:
        """Of the ends of one arm, which are simultaneous over all."""
        return 1 - (1 - self.rule.confidence) / max(len(self.arms), 1)


@dataclass(frozen=True, eq=False)
class Watch:
    """A signal with the thresholds of one study, as `orchestrator.alarms.calibrating` makes them:
    `limit` with its limits `lenient` and `strict`; `false` of the unseen runs alarm."""

    known: Healthy
    unseen: Floats
    limit: float
    lenient: float
    strict: float
    false: int
    why: str


def watch(setting: Setting, runs: Runs, calibration: Picked, unseen: Picked) -> Watch:
    """From healthy runs by their numbers."""
    import numpy as np

    from orchestrator.alarms.thresholds import (
        conformal_threshold,
        healthy,
        largest,
        threshold_limits,
        upper_bound,
        why_not,
    )

    rule = setting.rule
    known = healthy(stacked(runs.healthy[calibration]), runs.direction)
    fresh = largest(known.deviations(stacked(runs.healthy[unseen])))
    fresh = fresh[fresh > -np.inf]
    threshold = conformal_threshold(known.largest, rule.rate)
    limit = math.inf if threshold is None else threshold
    everyone = np.concatenate([known.largest, fresh])
    lenient, strict = threshold_limits(everyone, rule.rate, (1 - rule.confidence) / 2)
    false = int((fresh > limit).sum())
    upper = upper_bound(false, len(fresh), rule.confidence)
    why = why_not(len(known.largest), len(fresh), threshold, upper, rule.allowed)
    return Watch(known, fresh, limit, lenient, strict, false, why)


@dataclass(frozen=True, eq=False)
class Watched:
    """Both signals of one study: what is compared, and what it is compared with."""

    first: Watch
    than: Watch

    @classmethod
    def drawn(cls, setting: Setting, runs: tuple[Runs, Runs], rng: np.random.Generator) -> Watched:
        """With healthy runs drawn from all."""
        counts = (setting.calibration, setting.unseen)
        picked = [rng.integers(len(runs[0].healthy), size=count) for count in counts]
        return cls(*(watch(setting, one, *picked) for one in runs))

    def deviations(self, runs: tuple[Runs, Runs], picked: Picked) -> tuple[Floats, Floats]:
        """[runs, steps] of faulty runs by their numbers, of both signals."""
        pair = zip((self.first, self.than), runs, strict=True)
        one, other = (w.known.deviations(stacked(r.faulty[picked])) for w, r in pair)
        return one, other


def alarms(deviations: tuple[Floats, Floats], limits: tuple[float, float]) -> tuple[Floats, Floats]:
    """[runs] first alarms of both signals, infinite for none."""
    import numpy as np

    from orchestrator.alarms.alarming import alarm_steps

    steps = np.arange(deviations[0].shape[1], dtype=np.int64)
    one, other = (alarm_steps(d, steps, at) for d, at in zip(deviations, limits, strict=True))
    return one, other


def races_of(
    watched: Watched, deviations: tuple[Floats, Floats], arms: Sequence[int]
) -> list[Races]:
    """Who is first in each arm, of so many of the runs each, at the thresholds and at their limits
    as `orchestrator.alarms.judging` has them."""
    import numpy as np

    from orchestrator.alarms.racing import Races, race

    one, other = watched.first, watched.than
    limits = ((one.limit, other.limit), (one.lenient, other.strict), (one.strict, other.lenient))
    ends = np.cumsum(arms)[:-1]
    by_limit = [
        [race(*arm) for arm in zip(*(np.split(side, ends) for side in pair), strict=True)]
        for pair in (alarms(deviations, at) for at in limits)
    ]
    return [Races(*arm) for arm in zip(*by_limit, strict=True)]


def labels_of(
    setting: Setting, watched: Watched, runs: tuple[Runs, Runs], rng: np.random.Generator
) -> list[str]:
    """The label of every arm, all of which have the same fault."""
    from orchestrator.alarms import result as words
    from orchestrator.alarms.racing import label_of

    if watched.first.why or watched.than.why:
        return [words.NOT_CALIBRATED] * len(setting.arms)
    names = (setting.rule.first, setting.rule.than)
    picked = rng.integers(len(runs[0].faulty), size=sum(setting.arms))
    races = races_of(watched, watched.deviations(runs, picked), setting.arms)
    return [label_of(one, names, setting.arm_confidence) for one in races]
