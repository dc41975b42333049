"""What a study has for its rules to judge: arms, seeds, units and clusters, and real scores.

Everything here is plain data that can be sent to another process. A calibrator takes from it how
many studies' worth of what it has to draw, and, where trials have finished, what real scores look
like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study
    from workloads.contract import Scores

Source = Literal["runs", "workload", "assumed"]
"""Where a number of units comes from: finished trials' files, what the workload says that it will
score, or nothing better than an assumption."""

STEPS = "steps"
"""The split whose units are the steps of a trial."""
ASSUMED_UNITS = 100
"""Units of a workload that does not say how many it will score."""


@dataclass(frozen=True)
class ArmLayout:
    """One arm as planned.

    Attributes:
        role: baseline, comparator, arm or control.
        seeds: of its trials; one if it is deterministic.
        deterministic: whether the seed changes nothing.
    """

    name: str
    role: str
    seeds: tuple[int, ...]
    deterministic: bool = False


@dataclass(frozen=True, eq=False)
class RealScores:
    """What the finished trials of one arm scored in one column.

    Attributes:
        seeds: of the trials, in the plan's order; those that have no such column are left out.
        values: ``[seeds, units]`` in the order of `Measured.units`; NaN where not measured.
    """

    seeds: tuple[int, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """One column of one split: its units, their clusters, and what was scored so far.

    Attributes:
        units: ids of the units, all that any trial measured, in order of first appearance; empty
            unless they are read from runs.
        clusters: ``[count]`` the cluster of each unit, numbered from 0 without gaps; each unit is
            its own where nothing is known.
        source: where units and clusters come from.
        note: the same in words, for a reader of the calibration.
        scores: by arm, of those that have finished trials with this column.
    """

    split: str
    column: str
    units: tuple[str, ...]
    clusters: NDArray[np.intp]
    source: Source
    note: str
    scores: Mapping[str, RealScores] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many units."""
        return int(self.clusters.size)


@dataclass(frozen=True, eq=False)
class Layout:
    """What a study has.

    Attributes:
        arms: in the study's order, controls included; a search's proposals are left out.
        measured: by (split, column), what the parts of the study file read.
    """

    arms: tuple[ArmLayout, ...]
    measured: Mapping[tuple[str, str], Measured] = field(default_factory=dict)

    def arm(self, name: str) -> ArmLayout:
        """The arm of that name. Raises `KeyError`."""
        for one in self.arms:
            if one.name == name:
                return one
        raise KeyError(name)


def read_layout(study: Study, plan: Plan) -> Layout:
    """What the study has, as planned; scores of finished trials are read.

    Raises `DamagedFileError` for scores that are.
    """
    asked = dict.fromkeys(columns_asked(study))
    return Layout(
        arms=arms_planned(study, plan),
        measured={pair: measured(study, plan, *pair) for pair in asked},
    )


def arms_planned(study: Study, plan: Plan) -> tuple[ArmLayout, ...]:
    """Every arm with its seeds; of a search that goes on, the winner that it will have."""
    from orchestrator.searching import WINNER

    found = [
        ArmLayout(
            name=name,
            role=items[0].trial.role,
            seeds=tuple(item.trial.seed for item in items),
            deterministic=study.workload.deterministic(items[0].trial.config),
        )
        for name, items in _by_arm(plan).items()
    ]
    if study.searching is not None and all(arm.name != WINNER for arm in found):
        found.append(ArmLayout(WINNER, "arm", tuple(study.file.seeds)))
    return tuple(found)


def columns_asked(study: Study) -> Iterator[tuple[str, str]]:
    """(split, column) of the trials' scores that any part of the study file reads."""
    from orchestrator.judging import DEFAULT_SPLIT

    file = study.file
    if file.verdict is not None:
        selection = file.verdict.selection
        yield selection.report if selection else DEFAULT_SPLIT, file.verdict.metric
    for endpoint in file.endpoints.values():
        yield endpoint.split, endpoint.column
    for claim in file.claims.values():
        yield claim.split, claim.column
    if file.alarms is not None:
        for signal in file.alarms.signals.values():
            yield file.alarms.split, signal.column


def measured(study: Study, plan: Plan, split: str, column: str) -> Measured:
    """One column of one split, from finished trials where there are any.

    Raises `DamagedFileError` for scores that are.
    """
    import numpy as np

    read = {
        name: [
            (item.trial.seed, found)
            for item in items
            if (found := _read(study, plan, item, split, column))
        ]
        for name, items in _by_arm(plan).items()
    }
    read = {name: scores for name, scores in read.items() if scores}
    if not read:
        return _foreseen(study, plan, split, column)
    labels: dict[str, str] = {}
    for scores in read.values():
        for _, one in scores:
            for unit, cluster in zip(one.units, one.clusters, strict=True):
                labels.setdefault(unit, cluster)
    place = {unit: i for i, unit in enumerate(labels)}
    numbers: dict[str, int] = {}
    clusters = np.array(
        [numbers.setdefault(c, len(numbers)) for c in labels.values()], dtype=np.intp
    )
    trials = sum(len(scores) for scores in read.values())
    return Measured(
        split=split,
        column=column,
        units=tuple(labels),
        clusters=clusters,
        source="runs",
        note=f"{column} on {split}: {len(labels)} units in {len(numbers)} clusters and the scores "
        f"of {trials} finished trials were read",
        scores={
            name: RealScores(
                seeds=tuple(seed for seed, _ in scores),
                values=np.stack([_row(one, column, place) for _, one in scores]),
            )
            for name, scores in read.items()
        },
    )


def _foreseen(study: Study, plan: Plan, split: str, column: str) -> Measured:
    """What nothing has measured yet: as many units as the workload says, each for itself."""
    import numpy as np

    configs = [item.trial.config for item in plan.trials]
    if split == STEPS:
        told, counts = "the trials have as many steps", [_steps(config) for config in configs]
    else:
        told, counts = "the workload says", [study.workload.scored_units(c) for c in configs]
    known = [count for count in counts if count]
    count = max(known) if known else ASSUMED_UNITS
    source: Source = "workload" if known else "assumed"
    why = told if known else "assumed: the workload does not say how many"
    return Measured(
        split=split,
        column=column,
        units=(),
        clusters=np.arange(count, dtype=np.intp),
        source=source,
        note=f"{column} on {split}: {count} units ({why}); no trial has finished, so their "
        "clusters and scores are made up",
    )


def _steps(config: BaseModel) -> int | None:
    """Of a trial whose configuration says how many it has."""
    steps = getattr(config, "steps", None)
    return steps if isinstance(steps, int) else None


def _by_arm(plan: Plan) -> dict[str, list[PlannedTrial]]:
    found: dict[str, list[PlannedTrial]] = {}
    for item in plan.trials:
        if item.trial.role != "proposal":
            found.setdefault(item.trial.arm, []).append(item)
    return found


def _read(study: Study, plan: Plan, item: PlannedTrial, split: str, column: str) -> Scores | None:
    """The column of one trial, None if it has none."""
    from orchestrator.trial_scores import trial_columns

    found = trial_columns(study, plan, item, split, [column])
    return found if found is not None and column in found.columns else None


def _row(scores: Scores, column: str, place: Mapping[str, int]) -> NDArray[np.float64]:
    import numpy as np

    row = np.full(len(place), np.nan)
    for unit, value in zip(scores.units, scores.columns[column], strict=True):
        row[place[unit]] = np.nan if value is None else value
    return row


def layout_hash(layout: Layout) -> str:
    """What was simulated: arms with roles and seeds, and units with their clusters and whence they
    are known. Two studies with one hash have the same calibration under the same rule."""
    from orchestrator.ledger import short_hash

    return short_hash(
        {
            "arms": [[a.name, a.role, len(a.seeds), a.deterministic] for a in layout.arms],
            "measured": [
                [one.split, one.column, one.source, one.clusters.tolist()]
                for one in layout.measured.values()
            ],
        }
    )


def layout_notes(layout: Layout) -> tuple[str, ...]:
    """What was read and what was assumed, one line each."""
    return tuple(one.note for one in layout.measured.values())
