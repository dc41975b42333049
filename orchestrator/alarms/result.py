"""What is said of alarms: plain, frozen data. None is "not measured" or "not told", never 0.

Steps are the steps of the series. The two signals that are compared are `first` (asked about) and
`than` (compared with), as in the study file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.intervals import Interval, Median

FIRST = "{} first"
"""With the name of the signal."""
INCONCLUSIVE = "inconclusive"
NEITHER = "neither alarms"
SYNTHETIC = "synthetic signal"
NOT_CALIBRATED = "not calibrated"
NO_VERDICT = "no verdict yet"
NOT_MEASURED = "n/a"

State = Literal["answered", "not calibrated", "no verdict yet"]


@dataclass(frozen=True)
class Rate:
    """`events` of `runs` with an exact interval (Clopper and Pearson); None without runs."""

    events: int
    runs: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Threshold:
    """One signal's threshold, and what rate of false alarms it has on runs that did not make it.

    Attributes:
        signal, column, direction, about: as the study states them.
        threshold: largest deviation that does not alarm, in the units of the column.
        at_least, at_most: limits of the threshold that has exactly the study's rate, from all
            healthy runs; None where they are too few for one.
        target: false alarms per run that it is set for; more than the study's rate where there are
            too few calibration runs for that.
        calibration_runs, unseen_runs: that have the signal.
        false_alarms: of the unseen runs, two-sided.
        upper: one-sided upper bound of that rate, at the study's confidence.
        calibrated: whether there are enough runs and `upper` is at most what is allowed.
        why: why it is not; empty where it is.
        mean: of the calibration runs by step of `StudyAlarms.steps`, None where it has none.
        low, high: beyond which a step alarms; None on a side that does not count.
        first_step: the first step at which it can alarm; None if at none.
    """

    signal: str
    column: str
    direction: str
    threshold: float | None
    target: float | None
    calibration_runs: int
    unseen_runs: int
    false_alarms: Rate
    upper: float | None
    calibrated: bool
    why: str = ""
    about: str = ""
    mean: tuple[float | None, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    first_step: int | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class SignalTimes:
    """When one signal alarms in one arm, from the onset of the fault on.

    Attributes:
        detected: runs that alarm at or after the onset, and before they end.
        step, delay: median alarm step, and median of steps from onset to alarm.
        mean_delay: restricted mean: a run that never alarms counts as one that does at the step
            after the last.
        before_onset: runs that alarm before the onset too: false alarms, counted apart.
    """

    signal: str
    detected: Rate
    step: Median
    delay: Median
    mean_delay: Interval
    before_onset: int


@dataclass(frozen=True)
class RatePoint:
    """Who is first when both may alarm falsely this often; intervals are pointwise.

    Attributes:
        rate: false alarms per run that both thresholds are set for.
        unseen_first, unseen_than: false alarms per run on unseen runs at these thresholds.
        first, than: of all runs of the arm. `ties`, `neither`: runs.
    """

    rate: float
    unseen_first: float | None
    unseen_than: float | None
    first: Rate
    than: Rate
    ties: int
    neither: int


@dataclass(frozen=True)
class ArmAlarms:
    """Who is first in one arm.

    Attributes:
        synthetic: its signal is drawn into the measurement: its lead is made, and never counted.
        runs, planned, failed: with both signals, planned, and ended without a result.
        first, than: runs in which that signal alarms strictly before the other; ends simultaneous
            over the arms that are not synthetic.
        ties, neither: runs that alarm at the same step in both, and in none.
        first_at_least, than_at_least: the same two rates when the thresholds lean against that
            signal: its own at the upper limit, the other's at the lower. The label goes by these.
        lead: restricted mean of the steps by which `first` is ahead (negative: behind), a signal
            that never alarms counted as at the step after the last; simultaneous ends.
        median_lead: the same as a median; simultaneous ends.
        label: `NAME first`, or one of the words above; `why`: what the numbers do not say.
        signals: by signal, in the study's order.
        by_rate: at other rates of false alarms, the lowest first.
    """

    arm: str
    role: str
    synthetic: bool
    runs: int
    planned: int
    failed: int
    first: Rate
    than: Rate
    ties: int
    neither: int
    lead: Interval
    median_lead: Interval
    label: str
    why: str = ""
    signals: tuple[SignalTimes, ...] = ()
    by_rate: tuple[RatePoint, ...] = ()
    first_at_least: Rate | None = None
    than_at_least: Rate | None = None

    def times(self, signal: str) -> SignalTimes | None:
        """Of one signal, or None."""
        return next((one for one in self.signals if one.signal == signal), None)


@dataclass(frozen=True)
class Roc:
    """Largest deviations of the runs of an arm, from the onset on, against those of unseen healthy
    runs from the same step on: at each threshold, the share of runs that alarm. Where runs have
    unlike onsets, healthy ones are held from every one of these on, as often as it is there.

    Attributes:
        false_alarms, detected: corners of the staircase, both rising from 0 to 1.
        area: the chance that a run of the arm deviates more than a healthy one, ties half.
    """

    arm: str
    signal: str
    synthetic: bool
    false_alarms: tuple[float, ...]
    detected: tuple[float, ...]
    area: Interval


@dataclass(frozen=True)
class Trajectory:
    """Mean of a signal over the runs of an arm, by step of `StudyAlarms.steps`; None where no run
    has a finite value. `runs`: how many have one."""

    arm: str
    signal: str
    mean: tuple[float | None, ...]
    runs: tuple[int, ...]


@dataclass(frozen=True)
class RunAlarm:
    """One run and signal.

    Attributes:
        part: what the run is for.
        alarm_step: the first alarm at or after the onset; None if it never alarms.
        before_onset: the first alarm before the onset, a false one; None without.
        largest: the largest deviation (in the direction that counts) at or after the onset; None
            if it is not finite (a value that is not finite alarms), or nothing was measured.
        not_finite: the first step whose value was measured and is not finite.
    """

    arm: str
    seed: int
    trial: str
    part: Literal["calibration", "unseen", "arm", "synthetic"]
    signal: str
    onset: int | None
    alarm_step: int | None
    delay: int | None
    before_onset: int | None
    largest: float | None
    not_finite: int | None


@dataclass(frozen=True)
class StudyAlarms:
    """Which of two signals alarms first, at the same rate of false alarms.

    Attributes:
        first, than: names of the signals.
        rate, allowed, confidence: as the study states them.
        steps: of all series, ascending.
        family: arms over which ends are simultaneous.
        thresholds: by signal. `calibrated`: those of both compared signals are.
        arms: those that count, then the synthetic ones.
        answer: in a sentence or a few. `state`: whether it is one.
        notes: what holds for all of it. `problems`: what is missing.
    """

    first: str
    than: str
    rate: float
    allowed: float
    confidence: float
    calibration: str
    unseen: str
    steps: tuple[int, ...]
    family: int
    thresholds: tuple[Threshold, ...]
    calibrated: bool
    arms: tuple[ArmAlarms, ...]
    roc: tuple[Roc, ...]
    trajectories: tuple[Trajectory, ...]
    runs: tuple[RunAlarm, ...]
    answer: str
    state: State
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def find(self, arm: str) -> ArmAlarms | None:
        """One arm, or None."""
        return next((one for one in self.arms if one.arm == arm), None)

    def threshold(self, signal: str) -> Threshold | None:
        """Of one signal, or None."""
        return next((one for one in self.thresholds if one.signal == signal), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `report --json`."""
        from orchestrator.verdict.result import plain

        data: dict[str, Any] = plain(dataclasses.asdict(self))
        return data
