"""The comparisons of a study's endpoints that share their error, as plain data, and their labels
for many studies at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import ArmLayout, Layout
    from orchestrator.endpoints.rule import Endpoint
    from orchestrator.statistics.paired import Interval
    from orchestrator.study import Study

    Floats = NDArray[np.float64]

Column = tuple[str, str]
"""Split and column."""
MOST_PLACES = 64
"""Of units that are no sample: intervals go by their mean alone, so that more tell no more."""


@dataclass(frozen=True)
class Side:
    """An arm's scores in one column: the rows of them that a comparison pairs."""

    column: Column
    arm: str
    seeds: int
    """Rows that the arm has."""
    rows: tuple[int, ...]
    fixed: bool


@dataclass(frozen=True)
class Compared:
    """One comparison; `fixed`: neither arm depends on the seed."""

    endpoint: str
    arm: Side
    against: Side
    margin: float
    over_seeds: bool

    @property
    def fixed(self) -> bool:
        return self.arm.fixed and self.against.fixed


@dataclass(frozen=True, eq=False)
class Family:
    """Comparisons whose ends are simultaneous.

    Attributes:
        name: primary, secondary, or secondary of controls.
        clusters: of the units of each column, numbered from 0.
        confidence: of all of them together; `size`: how many they are in the study.
    """

    name: str
    compared: tuple[Compared, ...]
    clusters: Mapping[Column, NDArray[np.intp]]
    confidence: float
    size: int

    def interval(self, one: Compared, differences: Floats) -> Interval:
        """Of paired differences [studies, seeds, units], as `orchestrator.endpoints` has it."""
        from orchestrator.statistics.paired import interval

        clusters = None if one.over_seeds else self.clusters[one.arm.column]
        return interval(differences, clusters, self.confidence, self.size, fixed=one.fixed)


def families(study: Study, layout: Layout) -> list[Family]:
    """Those of a study's endpoints, the primary one first. Comparisons that share no seed, or have
    one alone and no other units, have no interval and are left out."""
    from orchestrator.endpoints.judging import CONFIDENCE
    from orchestrator.endpoints.rule import compared_arms, family_of
    from orchestrator.error_share import shared_confidence

    arms = {arm.name: arm for arm in layout.arms}
    sizes: dict[tuple[bool, bool], int] = {}
    members: dict[tuple[bool, bool], list[Compared]] = {}
    for name, endpoint in study.file.endpoints.items():
        for arm in compared_arms(endpoint, arms):
            family = family_of(endpoint.primary, arms[arm].role == "control")
            sizes[family] = sizes.get(family, 0) + 1
            one = _compared(name, endpoint, arms[arm], arms[endpoint.against])
            if len(one.arm.rows) > 1 or (one.fixed and not one.over_seeds):
                members.setdefault(family, []).append(one)
    names = {
        (True, False): "primary",
        (False, False): "secondary",
        (False, True): "secondary of controls",
    }
    return [
        Family(
            name=name,
            compared=tuple(members[family]),
            clusters={one.arm.column: _clusters(layout, one) for one in members[family]},
            confidence=shared_confidence(study.file, CONFIDENCE),
            size=sizes[family],
        )
        for family, name in names.items()
        if family in members
    ]


def _clusters(layout: Layout, one: Compared) -> NDArray[np.intp]:
    found = layout.measured[one.arm.column].clusters
    return found[:MOST_PLACES] if one.over_seeds else found


def _compared(name: str, endpoint: Endpoint, arm: ArmLayout, against: ArmLayout) -> Compared:
    if arm.deterministic or against.deterministic:
        common = arm.seeds if against.deterministic else against.seeds
    else:
        common = tuple(seed for seed in arm.seeds if seed in set(against.seeds))
    column = (endpoint.split, endpoint.column)
    return Compared(
        endpoint=name,
        arm=_side(column, arm, common),
        against=_side(column, against, common),
        margin=endpoint.margin,
        over_seeds=endpoint.over_seeds,
    )


def _side(column: Column, arm: ArmLayout, common: tuple[int, ...]) -> Side:
    if arm.deterministic:
        return Side(column, arm.name, 1, (0,) * len(common), fixed=True)
    rows = tuple(arm.seeds.index(seed) for seed in common)
    return Side(column, arm.name, len(arm.seeds), rows, fixed=False)


def is_no_effect(found: Interval, margin: float) -> NDArray[np.bool_]:
    """[studies] whether a comparison is called that, by itself or as a candidate."""
    import numpy as np

    return np.asarray((found.low >= -margin) & (found.high <= margin))


def is_effect(found: Interval, margin: float, sign: int) -> NDArray[np.bool_]:
    """[studies] whether it is called an effect, higher (`sign` 1) or lower (-1)."""
    import numpy as np

    beyond = found.low > 0 if sign > 0 else found.high < 0
    return np.asarray(beyond & ~is_no_effect(found, margin))
