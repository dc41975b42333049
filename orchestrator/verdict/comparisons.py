"""The comparisons that a rule states beside those with its comparator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.counted import counted
from orchestrator.verdict import labels
from orchestrator.verdict.compare import Numbers, arm_numbers
from orchestrator.verdict.evidence import ArmScores
from orchestrator.verdict.numbers import decimals, interval, signed, telling
from orchestrator.verdict.result import ComparisonVerdict, VerdictState
from orchestrator.verdict.rule import Comparison, Rule

Broken = Callable[[ArmScores, Numbers | None], tuple[str, str] | None]
"""The label of an arm whose score is not to be compared, and why; None for a sound one."""


def compare_stated(
    rule: Rule,
    arms: Mapping[str, ArmScores],
    family: int,
    state: VerdictState,
    broken: Broken,
    seeds: Callable[[Sequence[ArmScores]], int],
) -> tuple[ComparisonVerdict, ...]:
    """Each stated comparison judged; ends are Bonferroni's over the `family` of the whole verdict.

    `seeds` gives the fewest planned of some arms.
    """
    return tuple(
        _compare(rule, one, arms[one.arm], arms[one.against], state, family, broken, seeds)
        for one in rule.comparisons
    )


def _compare(
    rule: Rule,
    one: Comparison,
    arm: ArmScores,
    against: ArmScores,
    state: VerdictState,
    family: int,
    broken: Broken,
    seeds: Callable[[Sequence[ArmScores]], int],
) -> ComparisonVerdict:
    numbers = arm_numbers(rule, arm, against, family)
    label, why = _label(rule, one, arm, against, numbers, state, broken, seeds)
    return ComparisonVerdict(
        arm=one.arm,
        against=one.against,
        kind=one.kind,
        margin=one.margin,
        delta=numbers.delta,
        ci_low=numbers.delta_low,
        ci_high=numbers.delta_high,
        label=label,
        why=why,
        sentence=_sentence(rule, one, numbers, label, why),
    )


def _label(
    rule: Rule,
    one: Comparison,
    arm: ArmScores,
    against: ArmScores,
    numbers: Numbers,
    state: VerdictState,
    broken: Broken,
    seeds: Callable[[Sequence[ArmScores]], int],
) -> tuple[str, str]:
    if state == "no verdict yet":
        return labels.NO_VERDICT, ""
    if state == "gate not met":
        return labels.GATE_NOT_MET, ""
    cause = broken(arm, numbers)
    if cause:
        return cause
    other = broken(against, None)
    if other and other[0] != labels.COLLAPSED:
        return labels.INCOMPLETE, f"{one.against} is {other[0]}: {other[1]}"
    if numbers.delta is None:
        return labels.INCOMPLETE, "no question was scored in both arms"
    if numbers.identical:
        return labels.IDENTICAL, f"every score equals that of {one.against}: nothing to test"
    if numbers.untestable:
        return labels.INCONCLUSIVE, numbers.untestable
    planned = seeds([arm, against])
    if planned < rule.screen_seeds:
        return (
            labels.INCONCLUSIVE,
            f"{counted(planned, 'seed')}; a screen takes {rule.screen_seeds}",
        )
    label = labels.comparison_label(rule, one, numbers.delta_low, numbers.delta_high)
    if planned < rule.full_seeds:
        shown = label in (labels.better(one), labels.not_worse(one))
        return (
            labels.CANDIDATE if shown else labels.INCONCLUSIVE,
            f"{counted(planned, 'seed')}; a verdict takes {rule.full_seeds}",
        )
    return label, ""


def _sentence(rule: Rule, one: Comparison, numbers: Numbers, label: str, why: str) -> str:
    """`grown against static (non-inferiority, margin 1 points): not worse by 1; -0.2 [...]`."""
    asked = one.kind.replace("_", "-")
    asked += "" if one.margin is None else f", margin {one.margin:g} {rule.unit}"
    text = f"{one.arm} against {one.against} ({asked}): {label}"
    if numbers.delta is not None and label not in (labels.NO_VERDICT, labels.GATE_NOT_MET):
        edges = [(band.at_least, band.name) for band in rule.bands]
        edges += [] if one.margin is None else [(one.margin, "")]
        places = max(decimals([edge]) for edge in edges)
        places = telling([numbers.delta_low, numbers.delta_high], _decisive(rule, one), places)
        ends = interval(numbers.delta_low, numbers.delta_high, places, sign=True)
        text += f"; difference {signed(numbers.delta, places)} {ends}"
    return f"{text} ({why})." if why else f"{text}."


def _decisive(rule: Rule, one: Comparison) -> tuple[float, ...]:
    """Where an end of the difference decides the label."""
    good = 1.0 if rule.direction == "higher" else -1.0
    if one.kind == "non_inferiority":
        return (-good * (one.margin or 0.0),)
    return (0.0,) if one.margin is None else (0.0, good * one.margin)
