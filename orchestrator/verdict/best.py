"""The best configuration: chosen on one split, reported on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.verdict import labels
from orchestrator.verdict.evidence import ArmScores
from orchestrator.verdict.measure import finite
from orchestrator.verdict.result import ArmVerdict, Best
from orchestrator.verdict.rule import Rule

NOT_ELIGIBLE = {labels.COLLAPSED, labels.DIVERGED, labels.INCOMPLETE}


def selection_mean(arm: ArmScores) -> float | None:
    """Mean over seeds on the selection split; None unless every finished trial has a value."""
    values = [finite(one.selection_value) for one in arm.done()]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def choose_best(
    rule: Rule, judged: Sequence[ArmVerdict], evidence: Mapping[str, ArmScores]
) -> tuple[Best | None, str]:
    """The best of the arms, comparator included, and a note where there is none to name."""
    if rule.selection is None:
        return None, ""
    split = rule.selection.split
    scored: list[tuple[float, ArmVerdict]] = []
    missing = []
    for one in judged:
        if one.label in NOT_ELIGIBLE:
            continue
        value = selection_mean(evidence[one.arm])
        if value is None:
            missing.append(one.arm)
        else:
            scored.append((value, one))
    if missing:
        return None, f"No best configuration: no '{split}' score for {', '.join(missing)}."
    if not scored:
        return None, "No best configuration: no arm is eligible."
    sign = 1.0 if rule.direction == "higher" else -1.0
    value, one = max(scored, key=lambda pair: sign * pair[0])
    return (
        Best(one.arm, split, value, rule.selection.report, one.mean, one.delta, one.label),
        "",
    )
