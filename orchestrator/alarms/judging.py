"""From series of runs to who alarms first: pure, so that it can be simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.alarms import result as words
from orchestrator.alarms.result import (
    ArmAlarms,
    RatePoint,
    Roc,
    SignalTimes,
    StudyAlarms,
    Trajectory,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.alarms.calibrating import Watched
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.alarms.series import ArmRuns

    Floats = NDArray[np.float64]

RATES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""False alarms per run at which it is told who is first, beside the study's own."""
HUNG = "{} first at these thresholds, but not at every one that so many healthy runs allow"


def judge_alarms(rule: AlarmRule, arms: Sequence[ArmRuns]) -> StudyAlarms:
    """Thresholds from the calibration arm, their check on the unseen one, and every other arm.

    An arm that the study does not have is one without runs. No label is given while a trial waits,
    or unless the thresholds of both compared signals are calibrated.
    """
    from orchestrator.alarms.calibrating import watched
    from orchestrator.alarms.run_rows import run_alarms
    from orchestrator.alarms.sentences import answer_of, notes_of, problems_of
    from orchestrator.alarms.series import ArmRuns, all_steps

    named = {one.arm: one for one in arms}
    calibration = named.get(rule.calibration, ArmRuns(rule.calibration, ()))
    unseen = named.get(rule.unseen, ArmRuns(rule.unseen, ()))
    steps = all_steps(arms)
    signals = [watched(rule, name, calibration, unseen, steps) for name in rule.signals]
    asked = [one for one in arms if one.arm not in (rule.calibration, rule.unseen)]
    asked.sort(key=lambda one: one.arm in rule.synthetic)
    family = sum(one.arm not in rule.synthetic for one in asked)
    calibrated = all(s.threshold.calibrated for s in signals if s.name in (rule.first, rule.than))
    waiting = any(one.waiting for one in arms)
    withheld = words.NO_VERDICT if waiting else "" if calibrated else words.NOT_CALIBRATED
    judged = tuple(_arm(rule, one, signals, family, withheld) for one in asked)
    found = StudyAlarms(
        first=rule.first,
        than=rule.than,
        rate=rule.rate,
        allowed=rule.allowed,
        confidence=rule.confidence,
        calibration=rule.calibration,
        unseen=rule.unseen,
        steps=tuple(int(one) for one in steps),
        family=family,
        thresholds=tuple(one.threshold for one in signals),
        calibrated=calibrated,
        arms=judged,
        roc=tuple(roc for one in asked for s in signals for roc in _roc(rule, one, s)),
        trajectories=tuple(_trajectory(one, s) for one in arms for s in signals),
        runs=tuple(run_alarms(rule, arms, signals)),
        answer="",
        state="no verdict yet" if waiting else "answered" if calibrated else "not calibrated",
        problems=tuple(problems_of(rule, arms)),
    )
    return replace(found, answer=answer_of(found, arms), notes=tuple(notes_of(found, arms)))


@dataclass(frozen=True, eq=False)
class Pair:
    """The compared signals in the runs of an arm: deviations [runs, steps], from the onset on."""

    first: Watched
    than: Watched
    ours: Floats
    theirs: Floats

    def alarms(self, ours: float, theirs: float) -> tuple[Floats, Floats]:
        """[runs] first alarms of each at these thresholds; infinite for none."""
        from orchestrator.alarms.alarming import alarm_steps

        steps = self.first.steps
        return alarm_steps(self.ours, steps, ours), alarm_steps(self.theirs, steps, theirs)


def _arm(
    rule: AlarmRule, arm: ArmRuns, signals: Sequence[Watched], family: int, withheld: str
) -> ArmAlarms:
    """The figures of one arm. `withheld`: what stands in place of a label; empty: nothing does."""
    from orchestrator.alarms.alarming import from_onset
    from orchestrator.alarms.calibrating import having
    from orchestrator.alarms.racing import (
        Races,
        hung_on_thresholds,
        label_of,
        lead_of,
        race,
        rate_of,
    )
    from orchestrator.alarms.series import onsets_of

    synthetic = arm.arm in rule.synthetic
    confidence = rule.confidence if synthetic else 1 - (1 - rule.confidence) / max(family, 1)
    first, than = (next(s for s in signals if s.name == name) for name in (rule.first, rule.than))
    # without a threshold nothing can alarm, which does not say that nothing did
    known = first.has_threshold and than.has_threshold
    whole = than.able(first.able(arm.runs)) if known else having(arm.runs, rule.first, rule.than)
    runs = whole if known else []
    steps = first.steps
    onsets = onsets_of(runs, steps)
    pair = Pair(
        first,
        than,
        from_onset(first.deviations(runs), steps, onsets),
        from_onset(than.deviations(runs), steps, onsets),
    )
    ours, theirs = pair.alarms(first.limit, than.limit)
    found = race(ours, theirs)
    races = Races(
        found,
        race(*pair.alarms(first.lenient, than.strict)),
        race(*pair.alarms(first.strict, than.lenient)),
    )
    names = (rule.first, rule.than)
    end = float(steps[-1]) + 1 if len(steps) else 0.0
    lead, median_lead = lead_of(ours, theirs, min(onsets, default=end), end, confidence)
    label = words.SYNTHETIC if synthetic else withheld or label_of(races, names, confidence)
    told = []
    if lost := arm.failed + len(arm.runs) - len(whole):
        told.append(f"{lost} of {max(arm.planned, len(arm.runs))} runs have no result")
    told += _silent(arm, first, than)
    told += _beyond(arm, first, than)
    if label == words.INCONCLUSIVE and (name := hung_on_thresholds(races, names, confidence)):
        told.append(HUNG.format(name))
    return ArmAlarms(
        arm=arm.arm,
        role=arm.role,
        synthetic=synthetic,
        runs=len(whole),
        planned=arm.planned,
        failed=arm.failed,
        first=rate_of(found.first, found.runs, confidence),
        than=rate_of(found.than, found.runs, confidence),
        ties=found.ties,
        neither=found.neither,
        lead=lead,
        median_lead=median_lead,
        label=label,
        why="; ".join(told),
        signals=tuple(_times(rule, arm, one, end) for one in signals),
        by_rate=tuple(_by_rate(rule, pair)),
        first_at_least=rate_of(races.leaning_to_than.first, found.runs, confidence),
        than_at_least=rate_of(races.leaning_to_first.than, found.runs, confidence),
    )


def _silent(arm: ArmRuns, *signals: Watched) -> Iterator[str]:
    """Signals that could not have alarmed in runs that have them."""
    for signal in signals:
        there = [run for run in arm.runs if signal.name in run.signals]
        able = len(signal.able(there))
        if signal.has_threshold and able < len(there):
            yield (
                f"{signal.name} could not alarm in {len(there) - able} of {len(there)}: not "
                "measured from the onset on, or only where healthy runs tell nothing"
            )


def _beyond(arm: ArmRuns, *signals: Watched) -> Iterator[str]:
    """Steps at which nothing can alarm, since healthy runs have ended."""
    for signal in signals:
        if signal.has_threshold and (after := signal.beyond(arm.runs)) is not None:
            yield (
                f"{signal.name} has no threshold at steps {after[0]} to {after[1]}, which healthy "
                "runs do not have"
            )


def _times(rule: AlarmRule, arm: ArmRuns, watched: Watched, end: float) -> SignalTimes:
    import numpy as np

    from orchestrator.alarms.alarming import alarm_steps, before_onset, from_onset
    from orchestrator.alarms.racing import rate_of
    from orchestrator.alarms.series import onsets_of
    from orchestrator.statistics.bounded import bounded_mean
    from orchestrator.statistics.times import median_time

    runs = watched.able(arm.runs) if watched.has_threshold else []
    onsets = onsets_of(runs, watched.steps)
    deviations, steps, limit = watched.deviations(runs), watched.steps, watched.limit
    found = alarm_steps(from_onset(deviations, steps, onsets), steps, limit)
    early = alarm_steps(before_onset(deviations, steps, onsets), steps, limit)
    most = max(0.0, end - min(onsets, default=end))
    return SignalTimes(
        signal=watched.name,
        detected=rate_of(int(np.isfinite(found).sum()), len(runs), rule.confidence),
        step=median_time(found, rule.confidence),
        delay=median_time(found - onsets, rule.confidence),
        mean_delay=bounded_mean(np.minimum(found, end) - onsets, 0.0, most, rule.confidence),
        before_onset=int(np.isfinite(early).sum()),
    )


def _by_rate(rule: AlarmRule, pair: Pair) -> Iterator[RatePoint]:
    from orchestrator.alarms.racing import race, rate_of

    for rate in sorted({*RATES, rule.rate}):
        ours, theirs = (one.limit_for(rate) for one in (pair.first, pair.than))
        if ours is None or theirs is None:
            continue  # too few calibration runs for this rate
        found = race(*pair.alarms(ours, theirs))
        yield RatePoint(
            rate=rate,
            unseen_first=pair.first.false_rate(ours),
            unseen_than=pair.than.false_rate(theirs),
            first=rate_of(found.first, found.runs, rule.confidence),
            than=rate_of(found.than, found.runs, rule.confidence),
            ties=found.ties,
            neither=found.neither,
        )


def _roc(rule: AlarmRule, arm: ArmRuns, watched: Watched) -> Iterator[Roc]:
    import numpy as np

    from orchestrator.alarms.alarming import from_onset
    from orchestrator.alarms.series import onsets_of
    from orchestrator.alarms.thresholds import largest
    from orchestrator.statistics.bounded import area_under_roc
    from orchestrator.statistics.roc import corners

    runs = watched.able(arm.runs)
    if not watched.has_threshold or not runs or not len(watched.unseen):
        return
    onsets = onsets_of(runs, watched.steps)
    ill = largest(from_onset(watched.deviations(runs), watched.steps, onsets))
    healthy, times = watched.unseen_from(onsets)
    false, detected = corners(ill, np.repeat(healthy, times, axis=0).ravel())
    area = area_under_roc(ill, healthy, rule.confidence, times)
    yield Roc(arm.arm, watched.name, arm.arm in rule.synthetic, false, detected, area)


def _trajectory(arm: ArmRuns, watched: Watched) -> Trajectory:
    import numpy as np

    from orchestrator.alarms.calibrating import having, numbers
    from orchestrator.alarms.series import stack

    runs = [one.signals[watched.name] for one in having(arm.runs, watched.name)]
    values = stack(runs, watched.steps).values
    count = np.isfinite(values).sum(axis=0)
    mean = np.nansum(values, axis=0) / np.where(count, count, np.nan)
    return Trajectory(arm.arm, watched.name, numbers(mean), tuple(count.tolist()))
