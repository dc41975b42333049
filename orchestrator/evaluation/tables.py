"""What was measured on one subject, as arrays: what figures and verdicts are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.evaluation.points import asked_of, asked_points, canonical_point, subject_of
from orchestrator.evaluation.store import PointStore
from orchestrator.identity import canonical_json
from workloads.evaluation import ON, Point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.study import Study
    from orchestrator.trials import Trial

__all__ = ["PointTable", "asked_points", "point_table"]


@dataclass(frozen=True)
class PointTable:
    """The asked points of one subject in the order in which they were asked.

    Attributes:
        trial: identity of the trial whose model it is.
        subject: hash of the subject; empty while the trial has no outcome.
        factors: what can be switched off, in its order along the network.
        points: [points] what was asked.
        on: [points] the names that are on; empty for a point of another kind.
        values: metric -> [points], accuracies in percent, losses in nats. NaN where the
            subject did not measure it, and where the point failed or is missing.
        scores: [points, units] the `score_metric` by example; NaN rows where there are none. None
            if no point has any.
        units, clusters: [units] ids of the examples.
        errors: index of a point that failed -> one line of cause.
        missing: indices of points that have not been measured.
        measured_at_s: when the last of them was measured; None if none was.
        notes: index of a point -> what its subject said beside the numbers, where it did.
    """

    trial: str
    subject: str
    factors: tuple[str, ...]
    points: tuple[Point, ...]
    on: tuple[frozenset[str], ...]
    values: Mapping[str, NDArray[np.float64]]
    scores: NDArray[np.float32] | None
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    score_metric: str | None
    errors: Mapping[int, str]
    missing: tuple[int, ...]
    measured_at_s: float | None = None
    notes: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {canonical_json(canonical_point(p)): i for i, p in enumerate(self.points)}

    def index(self, point: Point) -> int:
        """Where a point stands that was asked. Raises KeyError for one that was not."""
        return self._places[canonical_json(canonical_point(point))]

    @property
    def complete(self) -> bool:
        """Whether every asked point was measured, and none failed."""
        return not self.errors and not self.missing


def point_table(study: Study, trial: Trial) -> PointTable:
    """What is known of the points that the study asks of the trial's finished model.

    Raises `UsageError` as `asked_points`.
    """
    import numpy as np

    from orchestrator.ledger import read_trial

    asked = asked_of(study, trial)
    outcome = read_trial(study.home, trial.identity).outcome
    subject = subject_of(outcome) if outcome is not None else ""
    found = (
        PointStore.of(study.home, subject, study.workload.version).measured(asked.hashes)
        if outcome is not None and asked.points
        else None
    )
    count = len(asked.points)
    rows = dict(found.rows) if found is not None else {}
    places = [rows.get(point) for point in asked.hashes]
    errors: dict[int, str] = {}
    missing: list[int] = []
    for index, row in enumerate(places):
        if row is None:
            missing.append(index)
        elif row.error is not None:
            errors[index] = row.error
    names = sorted({name for row in rows.values() for name in row.values})
    values = {name: np.full(count, np.nan) for name in names}
    for index, row in enumerate(places):
        for name, value in (row.values if row is not None else {}).items():
            if value is not None:
                values[name][index] = value
    scores = None
    if found is not None and found.units:
        scores = np.full((count, len(found.units)), np.nan, dtype=np.float32)
        for index, row in enumerate(places):
            if row is not None and row.scores is not None:
                scores[index] = row.scores
    return PointTable(
        trial=trial.identity,
        subject=subject,
        factors=tuple(study.workload.switches(trial.config)),
        points=asked.points,
        on=tuple(frozenset(point.get(ON, ())) for point in asked.points),
        values=values,
        scores=scores,
        units=found.units if found is not None else (),
        clusters=found.clusters if found is not None else (),
        score_metric=found.score_metric if found is not None else None,
        errors=errors,
        missing=tuple(missing),
        measured_at_s=found.measured_at_s if found is not None else None,
        notes={
            index: row.note
            for index, row in enumerate(places)
            if row is not None and row.note is not None
        },
    )
