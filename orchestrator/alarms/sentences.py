"""Alarms in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.alarms import result as words
from orchestrator.alarms.result import (
    ArmAlarms,
    Rate,
    StudyAlarms,
    Threshold,
)
from orchestrator.alarms.thresholds import FEWEST_CALIBRATION, FEWEST_UNSEEN
from orchestrator.counted import counted
from orchestrator.intervals import Interval, Median
from orchestrator.verdict.numbers import MISSING

if TYPE_CHECKING:
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.alarms.series import ArmRuns

NEVER = "never"


def answer_of(alarms: StudyAlarms, arms: Sequence[ArmRuns]) -> str:
    """The answer in a few sentences; what is missing where there is none yet."""
    if alarms.state == "no verdict yet":
        planned = sum(one.planned for one in arms)
        ended = planned - sum(one.waiting for one in arms)
        return f"No verdict yet: {ended} of {counted(planned, 'trial')} have ended."
    if not alarms.calibrated:
        why = [one for one in _compared(alarms) if one.why]
        reasons = {one.why for one in why}
        told = "; ".join(
            one.why if len(reasons) == 1 else f"{one.signal}: {one.why}"
            for one in (why[:1] if len(reasons) == 1 else why)
        )
        return (
            f"Whether {alarms.first} or {alarms.than} alarms first is not calibrated: {told}. "
            f"The figures stand without labels. {remedy_of(alarms)}"
        ).rstrip()
    told_arms = [f"{_arm_sentence(alarms, one)}." for one in alarms.arms if not one.synthetic]
    if not told_arms:
        told_arms = ["No arm counts in the answer: every one is synthetic or healthy."]
    rate = f"With thresholds for {alarms.rate * 100:.3g} % false alarms per run:"
    return " ".join([rate, *told_arms, _synthetic(alarms)]).rstrip()


def remedy_of(alarms: StudyAlarms) -> str:
    """What to do about thresholds that are not calibrated; empty where they are."""
    short = [
        f"{arm} at least {fewest} seeds"
        for arm, fewest, field in (
            (alarms.calibration, FEWEST_CALIBRATION, "calibration_runs"),
            (alarms.unseen, FEWEST_UNSEEN, "unseen_runs"),
        )
        if any(getattr(one, field) < fewest for one in _compared(alarms))
    ]
    if short:
        return f"Next: give {' and '.join(short)}."
    if all(one.calibrated or one.threshold is None for one in _compared(alarms)):
        return ""
    return (
        f"Next: give {alarms.calibration} more seeds (of sound studies for 2 %, 5 in 100 fail this "
        f"check with 99 runs, 2 with 199), and {alarms.unseen} seeds that nobody has looked at: "
        "a check that is repeated on runs that were seen proves nothing."
    )


def rate_sentence(alarms: StudyAlarms) -> str:
    """How often the compared signals alarm falsely, on unseen runs."""
    parts = " and ".join(
        f"{one.signal} alarms in {one.false_alarms.events} of {one.false_alarms.runs} unseen "
        f"healthy runs (at most {_percent(one.upper)})"
        for one in _compared(alarms)
    )
    return f"With thresholds for {alarms.rate * 100:.3g} % false alarms per run, {parts}"


def notes_of(alarms: StudyAlarms, arms: Sequence[ArmRuns]) -> Iterator[str]:
    """What holds for all of it."""
    if any(one.unseen_runs for one in alarms.thresholds):
        yield f"{rate_sentence(alarms)}; bounds are one-sided, {alarms.confidence * 100:g} %."
    for one in alarms.thresholds:
        if one.target is not None and one.target > alarms.rate:
            yield (
                f"{one.signal}: {counted(one.calibration_runs, 'calibration run')} allow no "
                f"threshold below {_percent(one.target)} false alarms per run; their largest "
                "deviation is taken."
            )
    yield (
        "Shares of runs, leads and times hold for these thresholds. A label needs more: healthy "
        "runs leave open where a threshold of exactly that rate lies, so a signal is called first "
        "only if it still is with its own threshold at the upper limit, the other's at the lower."
    )
    yield (
        "A step deviates from the mean of calibration runs at the same step, and alarms strictly "
        "above the threshold; a value that is not finite alarms, and a step without one does not."
    )
    if any(one.before_onset for arm in alarms.arms for one in arm.signals):
        yield (
            "Alarms before the onset are false ones, counted apart; who is first is told from the "
            "onset on."
        )
    lengths = {
        (int(one.steps[0]), int(one.steps[-1]))
        for arm in arms
        for run in arm.runs
        for one in run.signals.values()
        if len(one.steps)
    }
    if len(lengths) > 1:
        yield (
            f"Runs are not equally long (their last steps: {min(b for _, b in lengths)} to "
            f"{max(b for _, b in lengths)}): one that ends without an alarm has none."
        )


def problems_of(rule: AlarmRule, arms: Sequence[ArmRuns]) -> Iterator[str]:
    """What is missing."""
    there = {one.arm for one in arms}
    for role, name in (("calibration", rule.calibration), ("unseen", rule.unseen)):
        if name not in there:
            listed = ", ".join(sorted(there)) or "none"
            yield f"alarms.{role}: there is no arm '{name}'; there are: {listed}"
    for name in rule.synthetic:
        if name not in there:
            yield f"alarms.synthetic: there is no arm '{name}'"
    for arm in arms:
        yield from arm.problems
        if arm.failed:
            yield f"{arm.arm}: {arm.failed} of {counted(arm.planned, 'run')} failed"


def steps_text(value: float | None) -> str:
    """`19`, `9.5`, "n/a"."""
    return MISSING if value is None else f"{round(value, 1):g}"


def interval_text(found: Interval) -> str:
    """`-9 [-10, -8]`."""
    if found.low is None or found.high is None:
        return steps_text(found.value)
    return f"{steps_text(found.value)} [{steps_text(found.low)}, {steps_text(found.high)}]"


def median_text(found: Median) -> str:
    """`19 [18, 20]`, `never [31, never]`, `n/a`: a run without an alarm lies beyond every step."""
    value = steps_text(found.value) if found.reached else NEVER
    low = NEVER if found.open_low else steps_text(found.low)
    high = NEVER if found.open_high else steps_text(found.high)
    if MISSING in (low, high):
        return value
    return value if low == high == NEVER else f"{value} [{low}, {high}]"


def rate_text(found: Rate) -> str:
    """`20 of 20 [0.83, 1.00]`."""
    if found.low is None or found.high is None:
        return MISSING
    return f"{found.events} of {found.runs} [{found.low:.2f}, {found.high:.2f}]"


def _compared(alarms: StudyAlarms) -> list[Threshold]:
    return [one for one in alarms.thresholds if one.signal in (alarms.first, alarms.than)]


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value * 100:.1f} %"


def _arm_sentence(alarms: StudyAlarms, arm: ArmAlarms) -> str:
    if arm.label == words.NOT_MEASURED:
        return f"{arm.arm}: n/a ({arm.why or 'no run could alarm in both signals'})"
    missing = f" ({arm.why})" if arm.why else ""
    if arm.label == words.NEITHER:
        detected = [arm.times(name) for name in (alarms.first, alarms.than)]
        highs = [one.detected.high for one in detected if one and one.detected.high is not None]
        at_most = f" (each in at most {_percent(max(highs))} of runs)" if highs else ""
        return f"{arm.arm}: neither alarms in any of {counted(arm.runs, 'run')}{at_most}{missing}"
    if arm.label == words.FIRST.format(alarms.than):
        return f"{arm.arm}: {_winner(alarms.than, alarms.first, arm.than, arm, -1)}{missing}"
    if arm.label == words.FIRST.format(alarms.first):
        return f"{arm.arm}: {_winner(alarms.first, alarms.than, arm.first, arm, 1)}{missing}"
    return (
        f"{arm.arm}: inconclusive ({alarms.first} first in {arm.first.events} of "
        f"{counted(arm.runs, 'run')}, {alarms.than} first in {arm.than.events}, both at the same "
        f"step in {arm.ties}, neither in {arm.neither}){missing}"
    )


def _winner(name: str, other: str, rate: Rate, arm: ArmAlarms, sign: int) -> str:
    lead = arm.median_lead
    ahead = lead if sign > 0 else Interval(_negated(lead.value), *_negated_ends(lead))
    times = arm.times(other)
    never = "" if times is None or times.detected.events else f"; {other} never alarms"
    return (
        f"{name} alarms first in {rate_text(rate)} runs, by {interval_text(ahead)} steps at the "
        f"median{never}"
    )


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _negated_ends(found: Interval) -> tuple[float | None, float | None]:
    return _negated(found.high), _negated(found.low)


def _synthetic(alarms: StudyAlarms) -> str:
    names = [one.arm for one in alarms.arms if one.synthetic]
    if not names:
        return ""
    verb = "is a synthetic signal" if len(names) == 1 else "are synthetic signals"
    return f"{' and '.join(names)} {verb}: the lead there is made, and does not count."
