"""The calibration of alarms (`alarms:` of a study file).

The answer of such a study names, of every arm whose signal is not made, which signal is first. A
verdict is wrong if any arm is called though that signal is not first more often at the thresholds
of exactly the study's rate, or if thresholds pass their check though more healthy runs alarm than
are allowed. *Inconclusive*, *neither alarms* and *not calibrated* are never wrong.

Thresholds are drawn anew in every study, with the study's numbers of healthy runs. Arms have its
numbers of runs and the same fault each, which may show in both signals from the first step on.
Figures of an arm hold for the thresholds as they are: what is true of them is counted over all
runs that there are, at these thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.calibration.alarm_laws import Fault, Law, Runs, stacked
from orchestrator.calibration.alarm_studies import (
    Setting,
    Watched,
    alarms,
    labels_of,
)
from orchestrator.calibration.cell import Cell, Counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.alarms.thresholds import Healthy
    from orchestrator.calibration.layout import Layout
    from orchestrator.planning import Plan
    from orchestrator.study import Study

    Floats = NDArray[np.float64]

ALL = 10_000
"""Healthy runs that stand for all there are."""
FAULTY = 4_000
FEW = 1_000
"""Runs of either kind that stand for all where what is true is counted anew in each study."""
FEWEST_REAL = 100
"""Healthy runs that were measured: from fewer nothing is drawn."""
EVEN = 0.03
"""A signal that is first in half of the runs that decide, give or take this, is not first."""
LAWS = {
    "normal": (Law(), Law()),
    "heavy tails": (Law(heavy=True), Law(heavy=True)),
    "heavy tails, normal": (Law(heavy=True), Law()),
}
FAULTS = {
    "slow, runs alike": Fault(slope=0.1, scatter=0.0),
    "as noisy as healthy": Fault(slope=0.1, noise=1.0),
}
TIMES = (1.5, 2.0, 3.0)
"""How many times as fast one signal drifts."""
SELDOM = Fault(slope=0.04, scatter=0.5, slopes=(1.0, 0.8))
"""About half of the runs never alarm."""

Figure = Literal["first in", "median lead", "mean lead", "area under ROC", "false alarms"]
FIGURES: tuple[Figure, ...] = (
    "first in",
    "median lead",
    "mean lead",
    "area under ROC",
    "false alarms",
)


def cells(study: Study, plan: Plan, layout: Layout) -> list[Cell]:
    """Those of a study's alarms; none for a study without."""
    setting = setting_of(study, layout)
    return [] if setting is None else list(_cells(setting, layout))


def setting_of(study: Study, layout: Layout) -> Setting | None:
    """What the study asks and has; None for one without alarms."""
    from orchestrator.error_share import judged_alarms

    rule = judged_alarms(study.file)
    if rule is None:
        return None
    runs = {arm.name: len(arm.seeds) for arm in layout.arms}
    steps = layout.measured[rule.split, rule.signals[rule.first].column].count
    healthy = (rule.calibration, rule.unseen)
    return Setting(
        rule,
        steps,
        runs.get(rule.calibration, 0),
        runs.get(rule.unseen, 0),
        tuple(n for name, n in runs.items() if name not in (*healthy, *rule.synthetic)),
    )


def _cells(setting: Setting, layout: Layout) -> Iterator[Cell]:
    for law, laws in LAWS.items():
        for name, fault in FAULTS.items():
            yield LabelsCell(
                part="alarms",
                name=f"neither first, {law}, {name}",
                conditions={"noise": law, "fault": name, "as fast": 1.0},
                setting=setting,
                laws=laws,
                fault=fault,
            )
    for law in ("normal", "heavy tails"):
        for times in TIMES:
            yield LabelsCell(
                part="alarms",
                name=f"{times:g} times as fast, {law}",
                conditions={"noise": law, "fault": "drifts", "as fast": times},
                effect=times,
                setting=setting,
                laws=LAWS[law],
                fault=Fault(slopes=(times, 1.0)),
            )
    for figure in FIGURES if setting.arms else ():
        yield FigureCell(
            part="alarms",
            name=f"{figure}, half never alarm",
            conditions={"noise": "heavy tails", "fault": "half never", "interval of": figure},
            setting=setting,
            laws=LAWS["heavy tails"],
            fault=SELDOM,
            figure=figure,
        )
    real = _real(setting, layout)
    if real is not None:
        for name, fault in FAULTS.items():
            yield LabelsCell(
                part="alarms",
                name=f"neither first, as measured, {name}",
                conditions={"noise": "as measured", "fault": name, "as fast": 1.0},
                setting=setting,
                laws=LAWS["normal"],
                fault=fault,
                real=real,
            )


def _real(setting: Setting, layout: Layout) -> tuple[Floats, Floats] | None:
    """[runs, steps] of both signals in healthy runs that were measured; None of too few."""
    import numpy as np

    rule = setting.rule
    found = []
    for name in (rule.first, rule.than):
        column = layout.measured[rule.split, rule.signals[name].column]
        scores = [column.scores.get(arm) for arm in (rule.calibration, rule.unseen)]
        rows = [one.values for one in scores if one is not None]
        if sum(map(len, rows)) < FEWEST_REAL:
            return None
        order = np.argsort([int(unit) for unit in column.units])
        found.append(np.concatenate(rows)[:, order])
    one, other = found
    return (one, other) if one.shape == other.shape else None


@dataclass(frozen=True, eq=False, kw_only=True)
class AlarmsCell(Cell):
    """Both signals vary by `laws`, or as the `real` runs [runs, steps] of each did."""

    setting: Setting
    laws: tuple[Law, Law]
    fault: Fault
    real: tuple[Floats, Floats] | None = None

    def runs(
        self, rng: np.random.Generator, healthy: int = ALL, faulty: int = FAULTY
    ) -> tuple[Runs, Runs]:
        """All the runs that there are."""
        setting, rule = self.setting, self.setting.rule
        found = []
        for which, name in enumerate((rule.first, rule.than)):
            if self.real is None:
                values = self.laws[which].draw(healthy, setting.steps, rng)
            else:
                values = self.real[which]
            direction = rule.signals[name].direction
            found.append(Runs.of(values, self.fault, which, rule.rate, direction, rng, faulty))
        one, other = found
        return one, other


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelsCell(AlarmsCell):
    """Who is called first."""

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies of all arms."""
        from orchestrator.alarms import result as words

        setting, rule = self.setting, self.setting.rule
        runs = self.runs(rng)
        leads = leader(runs)
        right = words.FIRST.format(rule.first if leads > 0 else rule.than) if leads else ""
        called = {words.FIRST.format(name) for name in (rule.first, rule.than)}
        wrong = effects = found = 0
        for _ in range(studies):
            watched = Watched.drawn(setting, runs, rng)
            labels = labels_of(setting, watched, runs, rng)
            false = any(label in called and label != right for label in labels)
            wrong += false or passed_wrongly(setting, watched, runs)
            if self.effect is not None:
                effects += len(labels)
                found += labels.count(right)
        return Counts(studies=studies, wrong=int(wrong), effects=effects, found=found)


def leader(runs: tuple[Runs, Runs]) -> int:
    """1: at the thresholds of exactly the rate the first signal is first in more than half of the
    faulty runs that decide; -1: the other; 0: neither."""
    from orchestrator.alarms.racing import race

    one, other = runs
    apart = []
    for run in runs:
        values = run.faulty - _mean(run)
        apart.append({"above": values, "below": -values, "either": abs(values)}[run.direction])
    found = race(*alarms((apart[0], apart[1]), (one.level, other.level)))
    decided = found.first + found.than
    share = found.first / decided if decided else 0.5
    return 0 if abs(share - 0.5) <= EVEN else 1 if share > 0.5 else -1


def _mean(runs: Runs) -> Floats:
    from orchestrator.calibration.alarm_laws import step_means

    return step_means(runs.healthy)


def passed_wrongly(setting: Setting, watched: Watched, runs: tuple[Runs, Runs]) -> bool:
    """Whether thresholds pass their check though more healthy runs alarm than are allowed."""
    pairs = list(zip((watched.first, watched.than), runs, strict=True))
    if any(one.why for one, _ in pairs):
        return False
    return any(all_.false_rate(one.limit) > setting.rule.allowed for one, all_ in pairs)


@dataclass(frozen=True, eq=False, kw_only=True)
class FigureCell(AlarmsCell):
    """The intervals of one figure of an arm, against what all runs have at the same thresholds."""

    figure: Figure

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies of one arm of so many as the study has."""
        runs = self.runs(rng, FEW, FEW)
        intervals = covered = 0
        for _ in range(studies):
            watched = Watched.drawn(self.setting, runs, rng)
            for held in self._held(watched, runs, rng):
                intervals += 1
                covered += held
        return Counts(studies=studies, intervals=intervals, covered=covered)

    def _held(
        self, watched: Watched, runs: tuple[Runs, Runs], rng: np.random.Generator
    ) -> Iterator[bool]:
        """Whether each interval of this figure holds the truth; those that there are none of are
        left out."""
        import numpy as np

        from orchestrator.alarms.racing import lead_of, race, rate_of
        from orchestrator.alarms.thresholds import largest
        from orchestrator.statistics.bounded import area_under_roc

        setting, sure = self.setting, self.setting.arm_confidence
        if self.figure == "false alarms":
            for one, all_ in zip((watched.first, watched.than), runs, strict=True):
                rate = rate_of(one.false, len(one.unseen), setting.rule.confidence)
                yield _inside(rate.low, _share(one.known, all_, one.limit), rate.high)
            return
        picked = rng.integers(FEW, size=max(setting.arms))
        everyone = watched.deviations(runs, np.arange(FEW))
        some = (everyone[0][picked], everyone[1][picked])
        if self.figure == "area under ROC":
            healthy = largest(watched.first.known.deviations(stacked(runs[0].healthy)))
            area = area_under_roc(largest(some[0]), watched.first.unseen, setting.rule.confidence)
            yield _inside(area.low, _area(largest(everyone[0]), healthy), area.high)
            return
        limits = (watched.first.limit, watched.than.limit)
        ours, theirs = alarms(some, limits)
        all_ours, all_theirs = alarms(everyone, limits)
        end = float(setting.steps)
        if self.figure == "first in":
            found, true = race(ours, theirs), race(all_ours, all_theirs)
            for mine, whole in ((found.first, true.first), (found.than, true.than)):
                rate = rate_of(mine, found.runs, sure)
                yield _inside(rate.low, whole / true.runs, rate.high)
            return
        mean, median = lead_of(ours, theirs, 0.0, end, sure)
        lead = np.sort(np.minimum(all_theirs, end) - np.minimum(all_ours, end))
        if self.figure == "mean lead":
            yield _inside(mean.low, float(lead.mean()), mean.high)
        elif median.low is not None and median.high is not None:
            # any number between the two in the middle is a median
            middle = lead[(len(lead) - 1) // 2], lead[len(lead) // 2]
            yield bool(median.low <= middle[1] and middle[0] <= median.high)


def _inside(low: float | None, truth: float, high: float | None) -> bool:
    return (-math.inf if low is None else low) <= truth <= (math.inf if high is None else high)


def _share(known: Healthy, runs: Runs, limit: float) -> float:
    from orchestrator.alarms.thresholds import largest

    return float((largest(known.deviations(stacked(runs.healthy))) > limit).mean())


def _area(ill: Floats, healthy: Floats) -> float:
    """The chance that one of the first is larger than one of the second, ties half."""
    import numpy as np

    ordered = np.sort(healthy)
    below = np.searchsorted(ordered, ill, side="left")
    up_to = np.searchsorted(ordered, ill, side="right")
    return float((below + up_to).mean() / 2 / len(healthy))
