"""Every run by itself: when each of its signals alarmed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from orchestrator.alarms.result import RunAlarm

if TYPE_CHECKING:
    from orchestrator.alarms.calibrating import Watched
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.alarms.series import ArmRuns

Part = Literal["calibration", "unseen", "arm", "synthetic"]


def run_alarms(
    rule: AlarmRule, arms: Sequence[ArmRuns], signals: Sequence[Watched]
) -> Iterator[RunAlarm]:
    """A row per run and signal, in the order of the arms; a run without a signal has none of it.

    Calibration runs are held against the others of them.
    """
    for arm in arms:
        for one in signals:
            yield from _rows(rule, arm, one)


def _part(rule: AlarmRule, arm: str) -> Part:
    if arm == rule.calibration:
        return "calibration"
    if arm == rule.unseen:
        return "unseen"
    return "synthetic" if arm in rule.synthetic else "arm"


def _rows(rule: AlarmRule, arm: ArmRuns, watched: Watched) -> Iterator[RunAlarm]:
    import numpy as np

    from orchestrator.alarms.alarming import alarm_steps, before_onset, from_onset
    from orchestrator.alarms.calibrating import having
    from orchestrator.alarms.series import onsets_of, stack
    from orchestrator.alarms.thresholds import largest

    runs, steps, part = having(arm.runs, watched.name), watched.steps, _part(rule, arm.arm)
    own = part == "calibration"
    deviations = watched.healthy.own if own else watched.deviations(runs)
    onsets = onsets_of(runs, steps)
    after = from_onset(deviations, steps, onsets)
    found = alarm_steps(after, steps, watched.limit)
    early = alarm_steps(before_onset(deviations, steps, onsets), steps, watched.limit)
    most = largest(after)
    broken = stack([run.signals[watched.name] for run in runs], steps).broken
    for i, run in enumerate(runs):
        at = _step(found[i])
        spoilt = np.flatnonzero(broken[i])
        yield RunAlarm(
            arm=arm.arm,
            seed=run.seed,
            trial=run.trial,
            part=part,
            signal=watched.name,
            onset=run.onset,
            alarm_step=at,
            delay=None if at is None else at - int(onsets[i]),
            before_onset=_step(early[i]),
            largest=float(most[i]) if math.isfinite(most[i]) else None,
            not_finite=int(steps[spoilt[0]]) if len(spoilt) else None,
        )


def _step(at: float) -> int | None:
    return int(at) if math.isfinite(at) else None
