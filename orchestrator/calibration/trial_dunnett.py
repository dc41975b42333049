"""Dunnett's simultaneous ends over many studies.

Its critical value takes an integral for each arm of each study, so it is worked out only where
something hangs on it: it lies between the value for one comparison and Bonferroni's, and where no
edge lies between the ends that those two give, no label and no count of misses depends on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics import Estimate, Moments
    from orchestrator.verdict.family import Family
    from orchestrator.verdict.rule import Rule

    Floats = NDArray[np.float64]

OfStudies = TypeVar("OfStudies", "Estimate", "Moments")


def dunnett_half_widths(
    rule: Rule,
    family: Family,
    found: Mapping[str, Estimate],
    comparator: Moments,
    edges: Mapping[str, Collection[float]],
) -> list[Floats]:
    """``[studies]`` for each difference to the comparator; exact where one of the arm's `edges`
    hangs on it, else Bonferroni's."""
    import numpy as np

    from orchestrator.statistics.simultaneous import dunnett_half_width, dunnett_loadings

    confidence = family.arms_confidence(rule.confidence)
    halves = []
    for name, one in found.items():
        least = one.half_width(confidence)
        most = one.half_width(confidence, family.arms).copy()
        for study in np.flatnonzero(_hangs(one.value, least, most, edges[name])).tolist():
            alone = [_of(other, study) for other in found.values()]
            loadings = dunnett_loadings(alone, _of(comparator, study), family.arms)
            most[study] = dunnett_half_width(_of(one, study), loadings, confidence)
        halves.append(most)
    return halves


def _hangs(
    value: Floats, least: Floats, most: Floats, edges: Collection[float]
) -> NDArray[np.bool_]:
    import numpy as np

    found = np.zeros(value.shape, dtype=bool)
    for edge in edges:
        for sign in (1.0, -1.0):
            away = sign * (edge - value)
            found |= (least <= away) & (away <= most)
    return found


def _of(batch: OfStudies, study: int) -> OfStudies:
    """What belongs to one study of a batch."""
    import numpy as np

    arrays = {
        one.name: value[study]
        for one in fields(batch)
        if isinstance(value := getattr(batch, one.name), np.ndarray)
    }
    return replace(batch, **arrays)


def edges_of(rule: Rule, truth: float) -> Sequence[float]:
    """Where an end of a difference decides a label, or whether it holds the truth."""
    sign = 1.0 if rule.direction == "higher" else -1.0
    margin = rule.equivalence_margin
    inner = [] if margin is None else [margin, -margin]
    return [truth, 0.0, *inner, *(sign * band.at_least for band in rule.bands)]
