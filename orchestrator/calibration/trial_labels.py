"""The `verdict:` rule over many studies at once: labels, and whether they are true.

`orchestrator.verdict.judge` labels one study from its scores. Here the same is done to arrays of
moments, with the same estimators; a test draws studies and compares label by label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.verdict import labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.trial_setting import TrialSetting
    from orchestrator.statistics import Estimate, Moments
    from orchestrator.verdict.rule import Comparison, RangeGate, RatioGate, Rule

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Names = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Ends:
    """A difference over studies, arm minus other: all ``[studies]``.

    Attributes:
        low, high: simultaneous ends; NaN where there is no interval.
        identical: nothing varied, and the difference is 0.
    """

    value: Floats
    low: Floats
    high: Floats
    identical: Flags

    @property
    def given(self) -> Flags:
        """Where there is an interval."""
        import numpy as np

        return np.isfinite(self.low) & np.isfinite(self.high)

    def holds(self, truth: float) -> Flags:
        """Where the interval holds the true difference."""
        import numpy as np

        return np.asarray((self.low <= truth) & (truth <= self.high))


def differences(
    setting: TrialSetting, moments: Mapping[str, Moments], truth: Mapping[str, float]
) -> dict[str, Ends]:
    """By compared arm the difference to the comparator, with the ends that the rule gives it.

    `truth` is the true mean of every arm: Dunnett's ends are exact only where they decide anything.
    """
    from orchestrator.statistics import difference

    rule, family = setting.rule, setting.family
    base = moments[rule.comparator]
    found = {name: difference(moments[name], base) for name in setting.compared}
    if rule.simultaneous == "dunnett":
        from orchestrator.calibration.trial_dunnett import dunnett_half_widths, edges_of

        edges = {n: edges_of(rule, truth[n] - truth[rule.comparator]) for n in found}
        halves = dunnett_half_widths(rule, family, found, base, edges)
    else:
        halves = [one.half_width(rule.confidence, family.size) for one in found.values()]
    pairs = zip(found.items(), halves, strict=True)
    return {name: _ends(setting, (name, rule.comparator), one, half) for (name, one), half in pairs}


def stated(setting: TrialSetting, moments: Mapping[str, Moments]) -> dict[Comparison, Ends]:
    """The same of each stated comparison."""
    from orchestrator.statistics import difference

    rule, size = setting.rule, setting.family.size
    found = {}
    for one in rule.comparisons:
        estimate = difference(moments[one.arm], moments[one.against])
        half = estimate.half_width(rule.confidence, size)
        found[one] = _ends(setting, (one.arm, one.against), estimate, half)
    return found


def _ends(setting: TrialSetting, names: tuple[str, str], estimate: Estimate, half: Floats) -> Ends:
    import numpy as np

    still = np.asarray(estimate.identical)
    none = still | ~np.isfinite(half)
    if any(len(a.seeds) < 2 and not a.deterministic for a in map(setting.arm, names)):
        none = np.ones_like(none)
    half = np.where(none, np.nan, half)
    value = estimate.value
    return Ends(value, value - half, value + half, still & (value == 0.0))


def arm_labels(setting: TrialSetting, name: str, ends: Ends) -> Names:
    """``[studies]`` labels of a compared arm."""
    import numpy as np

    rule = setting.rule
    seeds = setting.seeds(name, rule.comparator)
    lower, upper = _good(rule, ends)
    found = np.full(lower.shape, labels.INCONCLUSIVE, dtype=object)
    if seeds >= rule.screen_seeds:
        found[upper < rule.bands[0].at_least] = labels.less_than(rule.bands[0])
        margin = rule.equivalence_margin
        if margin is not None:
            found[(-margin < lower) & (upper < margin)] = labels.EQUIVALENT
        found[upper < 0.0] = labels.HARM
        for band in rule.bands:
            found[lower >= band.at_least] = labels.at_least(band)
    if rule.screen_seeds <= seeds < rule.full_seeds:
        reached = lower >= rule.bands[0].at_least
        found = np.where(reached, labels.CANDIDATE, labels.INCONCLUSIVE).astype(object)
    found[ends.identical] = labels.IDENTICAL
    return found


def comparison_labels(setting: TrialSetting, one: Comparison, ends: Ends) -> Names:
    """``[studies]`` labels of a stated comparison."""
    import numpy as np

    rule, margin = setting.rule, one.margin or 0.0
    seeds = setting.seeds(one.arm, one.against)
    lower, upper = _good(rule, ends)
    if one.kind == "non_inferiority":
        shown, name = lower > -margin, labels.not_worse(one)
        against, other = upper <= -margin, f"worse by {margin:g}"
    else:
        shown, name = (lower > 0.0) & (lower >= margin), labels.better(one)
        against, other = upper < 0.0, labels.WORSE
    found = np.full(lower.shape, labels.INCONCLUSIVE, dtype=object)
    if seeds >= rule.full_seeds:
        found[against] = other
        found[shown] = name
    elif seeds >= rule.screen_seeds:
        found[shown] = labels.CANDIDATE
    found[ends.identical] = labels.IDENTICAL
    return found


def false_of_arm(rule: Rule, gain: float) -> frozenset[str]:
    """The labels that are false of an arm that is truly `gain` better than the comparator.

    "Identical" speaks of the scores, but the answer takes it for an arm that does not help.
    """
    first = rule.bands[0]
    false = {labels.at_least(band) for band in rule.bands if gain < band.at_least}
    if gain < first.at_least:
        false.add(labels.CANDIDATE)
    else:
        false |= {labels.less_than(first), labels.IDENTICAL}
    if gain >= 0.0:
        false.add(labels.HARM)
    margin = rule.equivalence_margin
    if margin is None or abs(gain) >= margin:
        false.add(labels.EQUIVALENT)
    return frozenset(false)


def false_of_comparison(one: Comparison, gain: float) -> frozenset[str]:
    """The same of a stated comparison whose arm is truly `gain` better than the other."""
    margin = one.margin or 0.0
    if one.kind == "non_inferiority":
        if gain <= -margin:
            return frozenset({labels.not_worse(one), labels.CANDIDATE, labels.IDENTICAL})
        return frozenset({f"worse by {margin:g}"})
    false = set()
    if gain <= 0.0 or gain < margin:
        false |= {labels.better(one), labels.CANDIDATE}
    if gain >= 0.0:
        false.add(labels.WORSE)
    return frozenset(false)


def gate_met(rule: Rule, gate: RatioGate | RangeGate, moments: Mapping[str, Moments]) -> Flags:
    """``[studies]`` whether the gate is met, as `orchestrator.verdict.gate` finds it.

    The lower end of Fieller's interval of the ratio reaches the target just if the ratio does and
    the contrast in which the target stands for it has an interval above 0; and the reference must
    be clearly above the floor.
    """
    import numpy as np

    from orchestrator.statistics import contrast, mean

    control = moments[gate.control]
    if gate.kind == "interval_inside":
        low, high = mean(control).interval(gate.confidence)
        return np.asarray((low >= gate.target[0]) & (high <= gate.target[1]))
    sign = 1.0 if rule.direction == "higher" else -1.0
    reference = moments[gate.reference]
    means = np.stack([sign * moments[name].mean for name in gate.floor])
    best, met = means.argmax(axis=0), np.zeros(means.shape[1:], dtype=bool)
    for i, name in enumerate(gate.floor):
        floor, r = moments[name], gate.target
        room = contrast([reference, floor], [sign, -sign])
        clear = room.value - room.half_width(gate.confidence) > 0.0
        at_target = contrast([control, reference, floor], [sign, -sign * r, sign * (r - 1.0)])
        above = at_target.value - at_target.half_width(gate.confidence) >= 0.0
        met |= (best == i) & clear & above
    return met


def _good(rule: Rule, ends: Ends) -> tuple[Floats, Floats]:
    """The ends in the direction that is good."""
    return (ends.low, ends.high) if rule.direction == "higher" else (-ends.high, -ends.low)
