"""The calibrator of the `verdict:` rule: simulated studies of trials, labelled by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.calibration.trial_draws import (
    BinaryDraw,
    Draw,
    NormalDraw,
    chunk_size,
    real_draw,
)
from orchestrator.calibration.trial_labels import (
    arm_labels,
    comparison_labels,
    differences,
    false_of_arm,
    false_of_comparison,
    gate_met,
    stated,
)
from orchestrator.calibration.trial_setting import TrialSetting, trial_setting
from orchestrator.calibration.trial_truths import ALIKE, HAIR, just_below, truths
from orchestrator.verdict import labels

if TYPE_CHECKING:
    import numpy as np

    from orchestrator.calibration.layout import Layout, Measured
    from orchestrator.planning import Plan
    from orchestrator.statistics import Moments
    from orchestrator.study import Study

SEED_SDS = (0.0, 1.0, 3.0)
"""Of an arm's seeds, in standard errors of one seed's mean over the units."""
CLUSTER = 10
"""Units of a cluster where clusters are made up, beside one."""
CLUSTER_SHARE = 0.5
"""Part of a unit's variance that its cluster shares where clusters are made up."""
RATES = (0.5, 0.1)
"""How often units are right in scores that are right or wrong."""
EFFECTS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0)
"""True gains of which power is told, in first bands."""
POINTS = "points"
SD_IN_BANDS = 11.0
"""The standard deviation of a unit's score, in first bands, where nothing better is known of a
metric that is not in points: 22 points are 11 of a first band of 2."""


@dataclass(frozen=True, eq=False)
class TrialCell(Cell):
    """Studies of trials, drawn and labelled by the rule.

    Attributes:
        setting: the rule and its arms.
        draw: how scores are drawn.
        gains: by arm how much better than the comparator it truly is.
    """

    setting: TrialSetting = field(kw_only=True)
    draw: Draw = field(kw_only=True)
    gains: Mapping[str, float] = field(kw_only=True)

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies, drawn and labelled."""
        arms, counts = self.setting.judged, Counts()
        sign = 1.0 if self.setting.rule.direction == "higher" else -1.0
        truth = {name: sign * gain for name, gain in self.gains.items()}
        size = chunk_size(self.draw, arms)
        for start in range(0, studies, size):
            count = min(size, studies - start)
            drawn = self.draw.moments(arms, truth, count, rng)
            counts += self._judged(drawn, truth, count)
        return counts

    def _judged(
        self, drawn: Mapping[str, Moments], truth: Mapping[str, float], studies: int
    ) -> Counts:
        import numpy as np

        setting, rule, gains = self.setting, self.setting.rule, self.gains
        base = rule.comparator
        wrong, missed = np.zeros(studies, dtype=bool), np.zeros(studies, dtype=bool)
        given = np.zeros(studies, dtype=bool)
        effects = found = 0
        for name, ends in differences(setting, drawn, truth).items():
            gain = gains[name] - gains[base]
            label = arm_labels(setting, name, ends)
            wrong |= np.isin(label, list(false_of_arm(rule, gain)))
            missed |= ends.given & ~ends.holds(truth[name] - truth[base])
            given |= ends.given
            if self.effect is not None and gain >= rule.bands[0].at_least:
                true = {labels.at_least(b) for b in rule.bands if gain >= b.at_least}
                effects += studies
                found += int(np.isin(label, [*true, labels.CANDIDATE]).sum())
        for one, ends in stated(setting, drawn).items():
            gain = gains[one.arm] - gains[one.against]
            label = comparison_labels(setting, one, ends)
            wrong |= np.isin(label, list(false_of_comparison(one, gain)))
            missed |= ends.given & ~ends.holds(truth[one.arm] - truth[one.against])
            given |= ends.given
        intervals, covered = _own_intervals(drawn, truth, rule.confidence)
        return Counts(
            studies=studies,
            wrong=int(wrong.sum()),
            intervals=intervals,
            covered=covered,
            families=int(given.sum()),
            families_covered=int((given & ~missed).sum()),
            effects=effects,
            found=found,
        )


@dataclass(frozen=True, eq=False)
class GateCell(Cell):
    """Studies whose gate should not be met, if only just; wrong are those in which it is.

    Attributes:
        setting: the rule and its arms.
        draw: how scores are drawn.
        means: by arm of the gate its true mean.
    """

    setting: TrialSetting = field(kw_only=True)
    draw: Draw = field(kw_only=True)
    means: Mapping[str, float] = field(kw_only=True)

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies, drawn and held against the gate."""
        gate, counts = self.setting.gate, Counts()
        if gate is None:
            return counts
        size = chunk_size(self.draw, self.setting.gated)
        for start in range(0, studies, size):
            count = min(size, studies - start)
            drawn = self.draw.moments(self.setting.gated, self.means, count, rng)
            met = gate_met(self.setting.rule, gate, drawn)
            counts += Counts(studies=count, wrong=int(met.sum()))
        return counts


def cells(study: Study, plan: Plan, layout: Layout) -> list[Cell]:
    """The grid of the study's `verdict:` rule; empty if it states none."""
    from orchestrator.judging import DEFAULT_SPLIT

    real = bool(plan.trials) and study.workload.real_setting(plan.trials[0].trial.config)
    setting = trial_setting(study, layout, real)
    if setting is None:
        return []
    selection = setting.rule.selection
    split = selection.report if selection else DEFAULT_SPLIT
    measured = layout.measured[split, setting.rule.metric]
    return [
        *_label_cells(setting, measured),
        *_gate_cells(setting, measured),
        *_power_cells(setting, measured),
    ]


def _label_cells(setting: TrialSetting, measured: Measured) -> Iterator[Cell]:
    """No effect is to be found in them: what is counted are false labels and missed truths."""
    known = dict(truths(setting))
    below = just_below(setting.rule.bands[0].at_least)
    for (how, draw), (truth, gains) in product(_draws(setting, measured), known.items()):
        # drawn scores move with the truth as a whole, so these two show misses on either side
        if not isinstance(draw, NormalDraw) and truth not in (ALIKE, below):
            continue
        conditions = {**how, "truth": truth}
        yield TrialCell(
            "verdict", _name(conditions), conditions, setting=setting, draw=draw, gains=gains
        )


def _gate_cells(setting: TrialSetting, measured: Measured) -> Iterator[Cell]:
    if not setting.gated:
        return
    for how, draw in _draws(setting, measured):
        if isinstance(draw, NormalDraw):
            conditions = {**how, "truth": "gate just not met"}
            means = _just_not_met(setting, draw.error)
            yield GateCell(
                "verdict", _name(conditions), conditions, setting=setting, draw=draw, means=means
            )


def _just_not_met(setting: TrialSetting, error: float) -> dict[str, float]:
    """True means of the gate's arms: the control a hair short of the target, the reference far
    above the floor."""
    gate, rule = setting.gate, setting.rule
    if gate is None:
        return {}
    if gate.kind == "interval_inside":
        low, high = gate.target
        return {gate.control: low - HAIR * (high - low)}
    sign = 1.0 if rule.direction == "higher" else -1.0
    room = 40.0 * error
    means = dict.fromkeys(gate.floor, 0.0)
    means[gate.reference] = sign * room
    means[gate.control] = sign * (gate.target - HAIR) * room
    return means


def _power_cells(setting: TrialSetting, measured: Measured) -> Iterator[Cell]:
    """All arms gain as much: how often they are labelled with a band that they reach."""
    first = setting.rule.bands[0].at_least
    for seed_sd, times in product(SEED_SDS, EFFECTS):
        draw = NormalDraw(
            seed_sd=seed_sd, clusters=_clusters(measured), error=_error(setting, measured)
        )
        gain = times * first
        gains = {a.name: gain if a.name in setting.compared else 0.0 for a in setting.judged}
        conditions: dict[str, str | float] = {"scores": "normal", "seed SD": seed_sd}
        name = _name({**conditions, "effect": gain})
        yield TrialCell("verdict", name, conditions, gain, setting=setting, draw=draw, gains=gains)


def _draws(
    setting: TrialSetting, measured: Measured
) -> Iterator[tuple[dict[str, str | float], Draw]]:
    """Ways to draw scores, with what they assume."""
    error, count = _error(setting, measured), _clusters(measured)
    noisy = {"none": None, "comparator": setting.rule.comparator, "an arm": setting.compared[0]}
    shapes: list[tuple[int | None, float]] = [(count, error)]
    if measured.source != "runs" and measured.count >= 2 * CLUSTER:
        spread = (1.0 + (CLUSTER - 1) * CLUSTER_SHARE) ** 0.5
        shapes.append((measured.count // CLUSTER, error * spread))
    if measured.source == "assumed":
        shapes.append((None, error))
    for (clusters, one), seed_sd, (who, arm) in product(shapes, SEED_SDS, noisy.items()):
        how: dict[str, str | float] = {"scores": "normal" if clusters else "means alone"}
        how |= {"clusters": clusters or "n/a", "seed SD": seed_sd, "4 x noisier": who}
        yield how, NormalDraw(seed_sd=seed_sd, noisy=arm, clusters=clusters, error=one)
    deviation = error * measured.count**0.5
    for rate, seed_sd in product(RATES, (0.0, 1.0)):
        span = deviation / (rate * (1 - rate)) ** 0.5
        how = {"scores": f"right or wrong, {rate:g}", "clusters": count}
        how |= {"seed SD": seed_sd, "4 x noisier": "none"}
        yield how, BinaryDraw(seed_sd=seed_sd, clusters=measured.clusters, rate=rate, span=span)
    drawn = real_draw(measured, setting.judged)
    if drawn is not None:
        from dataclasses import replace

        for seed_sd, (who, arm) in product(SEED_SDS, noisy.items()):
            if seed_sd and arm is not None:
                continue  # the noise of seeds is normal: it hides the shape of real scores
            how = {"scores": "of finished trials", "clusters": int(drawn.clusters.max()) + 1}
            how |= {"seed SD": seed_sd, "4 x noisier": who}
            yield how, replace(drawn, seed_sd=seed_sd, noisy=arm)


def _clusters(measured: Measured) -> int:
    return int(measured.clusters.max()) + 1


def _error(setting: TrialSetting, measured: Measured) -> float:
    """Standard error of one seed's mean over the units, in units of the metric: of finished trials
    where there are some, else from what `orrery plan` assumes."""
    from orchestrator.judging import ASSUMED_QUESTION_SD

    drawn = real_draw(measured, setting.judged)
    if drawn is not None and drawn.error > 0.0:
        return drawn.error
    first = setting.rule.bands[0].at_least
    deviation = ASSUMED_QUESTION_SD if setting.rule.unit == POINTS else SD_IN_BANDS * first
    return float(deviation / measured.count**0.5)


def _own_intervals(
    drawn: Mapping[str, Moments], truth: Mapping[str, float], confidence: float
) -> tuple[int, int]:
    """How many intervals of arms' own means were given, and how many hold the truth."""
    import numpy as np

    from orchestrator.statistics import mean

    given = covered = 0
    for name, moments in drawn.items():
        if moments.seeds == 1 and moments.influence is None:
            continue
        low, high = mean(moments).interval(confidence)
        there = np.isfinite(low) & np.isfinite(high)
        given += int(there.sum())
        covered += int((there & (low <= truth[name]) & (truth[name] <= high)).sum())
    return given, covered


def _name(conditions: Mapping[str, str | float]) -> str:
    return ", ".join(f"{key} {value}" for key, value in conditions.items())
