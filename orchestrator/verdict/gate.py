"""The gate: does the baseline reproduce well enough for a comparison to mean anything?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.verdict.evidence import ArmScores
from orchestrator.verdict.measure import finite, measure, nothing_varies, own_interval
from orchestrator.verdict.result import GateResult
from orchestrator.verdict.rule import RangeGate, RatioGate, Rule

if TYPE_CHECKING:
    from orchestrator.statistics import Moments


def judge_gate(
    rule: Rule, gate: RatioGate | RangeGate, arms: Mapping[str, ArmScores], ended: bool
) -> GateResult:
    """Apply a gate. `met` is None while trials are missing or an arm it needs has failed ones."""
    control, reference, floor = _moments(gate, arms)
    floor_arm, floor_mean = _best_floor(rule, floor)
    low = high = value = None
    why = ""
    if isinstance(gate, RatioGate):
        if control is None or reference is None or floor_arm is None:
            why = "the control, the reference and the floor have no common scores"
        else:
            from orchestrator.statistics import floor_corrected_ratio, negated

            three = (control, reference, floor[floor_arm])
            if rule.direction == "lower":
                three = (negated(three[0]), negated(three[1]), negated(three[2]))
            ratio = floor_corrected_ratio(*three, gate.confidence)
            value, low, high, why = ratio.value, ratio.low, ratio.high, ratio.reason
            if all(nothing_varies(one) for one in three):
                low, high, why = None, None, "three means alone have no interval"
        met = low is not None and low >= gate.target
    else:
        if control is None:
            why = "the control has no scores"
        else:
            value = finite(control.mean)
            low, high = own_interval(control, gate.confidence)
            why = "" if low is not None else "an interval needs two seeds and two clusters"
        inside = low is not None and high is not None
        met = inside and gate.target[0] <= low and high <= gate.target[1]  # type: ignore[operator]
    missing = _missing(gate, arms)
    return GateResult(
        met=None if missing or not ended else met,
        value=value,
        ci_low=low,
        ci_high=high,
        floor=floor_mean,
        target=gate.target,
        kind=gate.kind,
        confidence=gate.confidence,
        control=gate.control,
        reference=gate.reference,
        reference_value=None if reference is None else finite(reference.mean),
        floor_arm=floor_arm,
        why=missing or why,
    )


def _moments(
    gate: RatioGate | RangeGate, arms: Mapping[str, ArmScores]
) -> tuple[Moments | None, Moments | None, dict[str, Moments]]:
    """Moments of control, reference and floors, for a ratio on the questions common to all."""
    if isinstance(gate, RatioGate):
        names = [gate.control, gate.reference, *gate.floor]
        reduced = measure([arms[name] for name in names if name in arms])
        if reduced is None or any(name not in arms for name in names):
            return None, None, {}
        control, reference, *floors = reduced.arms
        return control, reference, dict(zip(gate.floor, floors, strict=True))

    def alone(name: str | None) -> Moments | None:
        reduced = measure([arms[name]]) if name in arms and name is not None else None
        return None if reduced is None else reduced.arms[0]

    known = {name: alone(name) for name in gate.floor}
    floors_known = {name: one for name, one in known.items() if one is not None}
    return alone(gate.control), alone(gate.reference), floors_known


def _best_floor(rule: Rule, floors: Mapping[str, Moments]) -> tuple[str | None, float | None]:
    if not floors:
        return None, None
    sign = 1.0 if rule.direction == "higher" else -1.0
    name = max(floors, key=lambda one: sign * float(floors[one].mean))
    return name, finite(floors[name].mean)


def _missing(gate: RatioGate | RangeGate, arms: Mapping[str, ArmScores]) -> str:
    """What the gate lacks, or nothing."""
    needed = [gate.control]
    if isinstance(gate, RatioGate):
        needed += [gate.reference, *gate.floor]
    for name in needed:
        if name not in arms:
            return f"the gate needs the arm '{name}', which the study does not have"
        arm = arms[name]
        short = len(arm.replicates) - len(arm.done())
        if short or not arm.replicates:
            return f"{name}: {len(arm.done())} of {len(arm.replicates)} trials have a result"
    return ""
