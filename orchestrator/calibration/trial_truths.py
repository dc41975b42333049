"""What is true in simulated studies of trials: the places at which a rule errs most easily."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.calibration.trial_setting import TrialSetting
    from orchestrator.verdict.rule import Comparison

ALIKE = "all arms alike"
HAIR = 1e-9
"""How far below an edge is "just below", in parts of the edge."""


def just_below(edge: float) -> str:
    """The name of the truth that all arms gain a hair less than this."""
    return f"all just below {edge:g}"


def truths(setting: TrialSetting) -> Iterator[tuple[str, dict[str, float]]]:
    """Names of truths, and by arm how much better it is than the comparator.

    All arms alike; all just below, or exactly at, an edge of a band; all at the margin of
    equivalence; arms that differ; and stated comparisons at the edge of what they may claim.
    """
    rule = setting.rule
    arms = setting.compared
    edges = [band.at_least for band in rule.bands]
    yield ALIKE, _with_others(setting, dict.fromkeys(arms, 0.0))
    for edge in edges[:2]:
        below = edge * (1.0 - HAIR)
        yield just_below(edge), _with_others(setting, dict.fromkeys(arms, below))
    yield f"all at {edges[0]:g}", _with_others(setting, dict.fromkeys(arms, edges[0]))
    mixed = [0.0, edges[0] * (1.0 - HAIR), edges[0], -edges[0], edges[-1] * (1.0 - HAIR)]
    if rule.equivalence_margin is not None:
        margin = rule.equivalence_margin
        for name, edge in ((f"all at {margin:g}", margin), (f"all at -{margin:g}", -margin)):
            yield name, _with_others(setting, dict.fromkeys(arms, edge))
        mixed += [margin, -margin]
    if len(arms) > 1:
        gains = {name: mixed[i % len(mixed)] for i, name in enumerate(arms)}
        yield "arms differ", _with_others(setting, gains)
    if rule.comparisons:
        yield "comparisons at their edges", _at_edges(setting, 0.0)
        yield "comparisons just beyond their edges", _at_edges(setting, HAIR)


def _with_others(setting: TrialSetting, gains: Mapping[str, float]) -> dict[str, float]:
    """The same with the comparator, and arms that only stated comparisons name, at 0."""
    return {arm.name: gains.get(arm.name, 0.0) for arm in setting.judged}


def _at_edges(setting: TrialSetting, beyond: float) -> dict[str, float]:
    """Stated comparisons at the edge of what they may claim (or beyond it by so much), as far as
    they do not contradict each other: the first that names an arm places it."""
    placed = {setting.rule.comparator: 0.0}
    for one in setting.rule.comparisons:
        edge = _edge(one) + beyond * max(1.0, abs(_edge(one)))
        if one.arm not in placed and one.against not in placed:
            placed[one.arm] = 0.0
        if one.arm in placed:
            placed.setdefault(one.against, placed[one.arm] - edge)
        else:
            placed[one.arm] = placed[one.against] + edge
    return _with_others(setting, placed)


def _edge(one: Comparison) -> float:
    """The largest gain of which the claim is false."""
    if one.kind == "non_inferiority":
        return -(one.margin or 0.0)
    return 0.0 if one.margin is None else one.margin * (1.0 - HAIR)
