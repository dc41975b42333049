"""One arm's mean, and its difference to the comparator, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.verdict.evidence import ArmScores
from orchestrator.verdict.family import Family
from orchestrator.verdict.measure import finite, measure, own_interval, same_scores
from orchestrator.verdict.rule import Rule

if TYPE_CHECKING:
    from orchestrator.statistics import Aligned, Moments

FEW_CLUSTERS = 10


@dataclass(frozen=True)
class Numbers:
    """What was measured of one arm; None is "not measured" or "not estimable"."""

    mean: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    identical: bool = False
    untestable: str = ""
    seed_sd: float | None = None
    df: float | None = None
    questions: int | None = None
    clusters: int | None = None
    effective_clusters: float | None = None
    dropped: int = 0


def arm_numbers(rule: Rule, arm: ArmScores, comparator: ArmScores | None, family: int) -> Numbers:
    """The arm's own interval and, against a comparator, the simultaneous one over `family`."""
    own = measure([arm])
    if own is None:
        return Numbers()
    from orchestrator.statistics import difference

    moments = own.arms[0]
    low, high = own_interval(moments, rule.confidence)
    variance = finite(moments.seed_variance)
    alone = Numbers(
        mean=finite(moments.mean),
        ci_low=low,
        ci_high=high,
        seed_sd=None if variance is None else variance**0.5,
        questions=own.questions,
        clusters=moments.clusters,
        effective_clusters=_effective(moments),
        dropped=own.dropped,
    )
    pair = None if comparator is None else measure([arm, comparator])
    if pair is None or comparator is None:
        return alone
    estimate = difference(*pair.arms)
    half = finite(estimate.half_width(rule.confidence, max(1, family)))
    delta = finite(estimate.value)
    still = bool(estimate.identical)
    identical = same_scores(arm, comparator) or (still and delta == 0.0)
    unbounded = half is None or delta is None or identical or still
    return replace(
        alone,
        delta=0.0 if identical else delta,
        delta_low=None if unbounded else delta - half,  # type: ignore[operator]
        delta_high=None if unbounded else delta + half,  # type: ignore[operator]
        identical=identical,
        untestable=_untestable(pair, (arm, comparator), still, half),
        df=finite(estimate.df),
        questions=pair.questions,
        clusters=pair.arms[0].clusters,
        effective_clusters=_effective(pair.arms[0]),
        dropped=pair.dropped,
    )


def dunnett_numbers(
    rule: Rule, arms: Sequence[ArmScores], comparator: ArmScores, family: Family
) -> list[Numbers] | None:
    """The same for all arms by Dunnett; None where the arms have no common questions.

    Of the error that the rule allows, stated comparisons take their share by Bonferroni.
    """
    joint = measure([*arms, comparator])
    if joint is None:
        return None
    from orchestrator.statistics import simultaneous_half_widths

    confidence = family.arms_confidence(rule.confidence)
    halves = simultaneous_half_widths(
        joint.arms[:-1], joint.arms[-1], confidence, "dunnett", max(family.arms, len(arms))
    )
    out = []
    for arm, moments, width in zip(arms, joint.arms[:-1], halves, strict=True):
        one = arm_numbers(rule, arm, comparator, family.size)
        delta, half = finite(moments.mean - joint.arms[-1].mean), finite(width)
        if one.identical or delta is None or half is None:
            out.append(one)
            continue
        out.append(
            replace(
                one,
                delta=delta,
                delta_low=delta - half,
                delta_high=delta + half,
                questions=joint.questions,
                dropped=joint.dropped,
            )
        )
    return out


def _effective(arm: Moments) -> float | None:
    return None if arm.cluster_df is None else float(arm.cluster_df) + 1.0


def _untestable(
    pair: Aligned, scores: Sequence[ArmScores], no_variation: bool, half: float | None
) -> str:
    """Why a difference has no usable interval, or nothing."""
    arm = pair.arms[0]
    both = zip(scores, pair.arms, strict=True)
    if any(moments.seeds < 2 and not one.deterministic for one, moments in both):
        return "one seed has no interval"
    if arm.clusters is not None and arm.clusters < 2:
        return "one cluster has no interval"
    if half is None:
        return "the variance cannot be estimated"
    return "no score varied, so the difference cannot be tested" if no_variation else ""
