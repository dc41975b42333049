"""What was measured along each curve, as arrays: from the points of the models of its arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.curve_design import DRAW

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.evaluation.tables import PointTable
    from orchestrator.fractions import CurveAsked
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study

    Floats = NDArray[np.float64]

SPREAD = "_se"
"""How the name of a metric ends that is the standard error of the one before."""


@dataclass(frozen=True, eq=False)
class AtValue:
    """What the points of one value came to: means over the draws of every model of the arm.

    `draw_means` are the means of the metric by draw; `random`: whether another draw is another
    point. `waits`: it is not measured yet; `problem`:
    why there is no mean.
    """

    value: float
    draws: int
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    draw_means: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    waits: bool = False
    random: bool = False


@dataclass(frozen=True, eq=False)
class Gathered:
    """One curve as it was measured.

    Attributes:
        scores: [values, examples] the metric by example, over draws and models; NaN rows where
            there is a problem. None where the metric is not what the examples are scored by.
        units, clusters: [examples]; empty without scores.
    """

    arm: str
    path: str
    along: str
    values: tuple[AtValue, ...]
    scores: Floats | None
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    models: int

    @property
    def name(self) -> str:
        """`ARM/PATH`."""
        return f"{self.arm}/{self.path}"

    @property
    def draws(self) -> Floats | None:
        """[draws, values] means of the metric by random draw; None where there are not several, or
        a value has none. Where nothing is random all draws are the same."""
        import numpy as np

        count = max(len(one.draw_means) for one in self.values)
        if count < 2 or not all(len(one.draw_means) in (1, count) for one in self.values):
            return None
        columns = [np.broadcast_to(np.asarray(one.draw_means), (count,)) for one in self.values]
        return np.stack(columns, axis=1)

    @property
    def one_draw(self) -> bool:
        """Whether something in it is random, of which there is a single draw."""
        return any(one.random and one.draws < 2 for one in self.values)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing or failed, by value."""
        return tuple(f"{self.along} {v.value:g}: {v.problem}" for v in self.values if v.problem)

    @property
    def waits(self) -> bool:
        """Whether some of it is still to be measured."""
        return any(one.waits for one in self.values)


def gather(study: Study, plan: Plan, asked: Sequence[CurveAsked], metric: str) -> list[Gathered]:
    """Every curve of a study, in the order in which they were asked."""
    from orchestrator.evaluation.tables import point_table

    tables: dict[str, PointTable | None] = {}
    by_arm: dict[str, dict[str, PlannedTrial]] = {}
    for item in plan.trials:
        by_arm.setdefault(item.trial.arm, {})[item.trial.identity] = item
        if item.trial.identity not in tables:
            there = item.record.outcome is not None
            tables[item.trial.identity] = point_table(study, item.trial) if there else None
    found = []
    for curve in asked:
        items = by_arm.get(curve.arm, {})
        states = [item.state for item in items.values() if tables[item.trial.identity] is None]
        models = [table for identity in items if (table := tables[identity]) is not None]
        found.append(gathered(curve, models, states, metric))
    return found


def gathered(
    curve: CurveAsked, models: Sequence[PointTable], states: Sequence[str], metric: str
) -> Gathered:
    """One curve. `states` are those of trials that have no model."""
    import numpy as np

    values: list[AtValue] = []
    rows: list[Floats] = []
    units, clusters, alike = _examples(models, metric)
    for value, points in zip(curve.values, curve.points, strict=True):
        places = [(table, table.index(point)) for table in models for point in points]
        problems = [_problem(table, index, metric) for table, index in places]
        problems = [one for one in problems if one[0]]
        if states or not models:
            state = states[0] if states else "not planned"
            problems.insert(0, (f"its trial is {state}", state != "failed"))
        elif not alike:
            problems.insert(0, ("its models were scored on different examples", False))
        if problems:
            waits = any(one[1] for one in problems)
            values.append(AtValue(value, len(points), problem=problems[0][0], waits=waits))
            rows.append(np.full(len(units), np.nan))
            continue
        names = sorted({name for table, _ in places for name in table.values})
        values.append(
            AtValue(
                value,
                len(points),
                metrics={name: _mean([_value(t, name, i) for t, i in places]) for name in names},
                draw_means=tuple(
                    float(np.mean([_score(table, table.index(point), metric) for table in models]))
                    for point in points
                ),
                notes=tuple(t.notes[i] for t, i in places if i in t.notes),
                random=any(DRAW in point for point in points),
            )
        )
        if units:
            scored = [t.scores[i] for t, i in places if t.scores is not None]
            rows.append(np.stack(scored).mean(axis=0, dtype=np.float64))
    scores = np.stack(rows) if units else None
    return Gathered(
        curve.arm,
        curve.path,
        curve.along,
        tuple(values),
        scores,
        units,
        clusters,
        len(models),
    )


def _examples(
    models: Sequence[PointTable], metric: str
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Ids and clusters of the examples, and whether all models have the same; none at all where the
    metric is not what they are scored by."""
    scored = [t for t in models if t.scores is not None and t.score_metric == metric]
    if not scored or len(scored) < len(models):
        return (), (), not scored
    first = scored[0]
    alike = all((t.units, t.clusters) == (first.units, first.clusters) for t in scored)
    return first.units, first.clusters, alike


def _problem(table: PointTable, index: int, metric: str) -> tuple[str, bool]:
    """Why a point has no mean of the metric, and whether that is since it was not measured yet."""
    if index in table.missing:
        return "not measured yet", True
    if index in table.errors:
        return f"failed: {table.errors[index]}", False
    value = _score(table, index, metric)
    return ("", False) if value == value else (f"no {metric} was measured", False)


def _score(table: PointTable, index: int, metric: str) -> float:
    """The mean of the metric: over the examples where it is scored by them."""
    if table.scores is not None and table.score_metric == metric:
        return float(table.scores[index].mean(dtype="float64"))
    value = _value(table, metric, index)
    return float("nan") if value is None else value


def _value(table: PointTable, name: str, index: int) -> float | None:
    if name not in table.values:
        return None
    value = float(table.values[name][index])
    return value if value == value else None


def _mean(values: Sequence[float | None]) -> float | None:
    """None where any is missing: a mean of some draws is not that of all."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
