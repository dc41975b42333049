"""Two arms seed by seed and unit by unit: what both measured under the same seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One run's column: a value a unit; None is not measured, NaN and infinities are not finite.

    `diverged`: it was flagged so, and scored nevertheless. `notes`: of a run that was flagged
    otherwise.
    """

    seed: int
    units: Sequence[str]
    clusters: Sequence[str]
    values: Sequence[float | None]
    diverged: bool = False
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        return any(value is not None for value in self.values)

    @property
    def finite(self) -> bool:
        """Whether all that was measured is a finite number."""
        return all(value is None or math.isfinite(value) for value in self.values)


@dataclass(frozen=True)
class Side:
    """An arm of a comparison: its runs that ended with a result, and how the others ended.

    Attributes:
        failures: the kind of failure of each run that failed.
        waiting: runs that have not ended.
        seeds: planned ones; of a deterministic arm the one that it runs under.
        deterministic: its one run is that of every seed.
    """

    arm: str
    runs: tuple[Run, ...]
    seeds: tuple[int, ...]
    failures: tuple[str, ...] = ()
    waiting: int = 0
    deterministic: bool = False
    control: bool = False


@dataclass(frozen=True, eq=False)
class Pairs:
    """What both arms measured.

    Attributes:
        arm, against: [seeds, units] scores.
        seeds: whose they are; the first alone of two arms that do not depend on it.
        units, clusters: of the columns.
        left_units: units that some of these runs lacks.
        equal: under every seed both runs measured the same units, and every score of the one is
            that of the other, to the last bit (0 and -0 are one number): those too of units that
            another seed's run lacks.
        fixed: neither arm depends on the seed.
    """

    arm: Floats
    against: Floats
    seeds: tuple[int, ...]
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    left_units: int
    equal: bool
    fixed: bool

    @property
    def differences(self) -> Floats:
        """[seeds, units], arm minus against."""
        return self.arm - self.against


def common_seeds(arm: Side, against: Side) -> tuple[int, ...]:
    """The planned seeds under which both run, in the order of the first that depends on them."""
    if arm.deterministic and against.deterministic:
        return arm.seeds[:1]
    if arm.deterministic or against.deterministic:
        return against.seeds if arm.deterministic else arm.seeds
    there = set(against.seeds)
    return tuple(seed for seed in arm.seeds if seed in there)


def paired_runs(arm: Side, against: Side) -> dict[int, tuple[Run, Run]]:
    """The runs of both by common seed, where both ended and measured anything."""
    found = {}
    for seed in common_seeds(arm, against):
        one, other = _run(arm, seed), _run(against, seed)
        if one is not None and other is not None and one.measured and other.measured:
            found[seed] = (one, other)
    return found


def pair(runs: Mapping[int, tuple[Run, Run]], fixed: bool) -> Pairs | None:
    """Their scores on the units that every one of the runs measured; None without any.

    Raises:
        ValueError: a unit twice in one run, or in two clusters.
    """
    import numpy as np

    if not runs:
        return None
    everyone = [run for both in runs.values() for run in both]
    tables = [_by_unit(run) for run in everyone]
    first = tables[0]
    asked = dict.fromkeys(unit for table in tables for unit in table)
    units = [unit for unit in first if all(unit in table for table in tables)]
    kept = [u for u in units if all(table[u][1] is not None for table in tables)]
    for unit in kept:
        clusters = {table[unit][0] for table in tables}
        if len(clusters) > 1:
            raise ValueError(
                f"unit '{unit}' is in cluster '{min(clusters)}' in one run and in "
                f"'{max(clusters)}' in another"
            )
    if not kept:
        return None
    scores = np.array([[table[u][1] for u in kept] for table in tables], dtype=np.float64)
    return Pairs(
        arm=scores[0::2],
        against=scores[1::2],
        seeds=tuple(runs),
        units=tuple(kept),
        clusters=tuple(first[unit][0] for unit in kept),
        left_units=len(asked) - len(kept),
        equal=tables[0::2] == tables[1::2],
        fixed=fixed,
    )


def _by_unit(run: Run) -> dict[str, tuple[str, float | None]]:
    table = {
        unit: (cluster, value)
        for unit, cluster, value in zip(run.units, run.clusters, run.values, strict=True)
    }
    if len(table) != len(run.units):
        raise ValueError(f"a unit was scored twice under seed {run.seed}")
    return table


def _run(side: Side, seed: int) -> Run | None:
    if side.deterministic:
        return side.runs[0] if side.runs else None
    return next((run for run in side.runs if run.seed == seed), None)
