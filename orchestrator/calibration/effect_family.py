"""The figures of a study's effects that share their error, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import Layout
    from orchestrator.effects.planned import PlannedFigures
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.statistics.weighted import Intervals
    from orchestrator.study import Study
    from orchestrator.study_file import Factorial, Removal

    Floats = NDArray[np.float64]


SHAPLEY = ("shapley", 1)


@dataclass(frozen=True, eq=False)
class Table:
    """One question that a study asks of combinations.

    Attributes:
        name: causal effects, or removal costs of one model or of the models of an arm.
        design: that plans the combinations of `factors`.
        replicates: seeds or models.
        clusters: [examples], numbered from 0.
        one_model: intervals speak of the one model.
        confidence: of each family by itself.
    """

    name: str
    design: Factorial | Removal
    factors: tuple[str, ...]
    replicates: int
    clusters: NDArray[np.intp]
    one_model: bool
    confidence: float

    @property
    def size(self) -> tuple[object, ...]:
        """What tables have in common that err alike."""
        planned, clusters = self.planned, self.clusters.tobytes()
        return self.one_model, self.replicates, clusters, planned.coalitions, planned.figures

    @property
    def planned(self) -> PlannedFigures:
        from orchestrator.effects.planned import planned_figures

        return planned_figures(self.design, self.factors)


@dataclass(frozen=True, eq=False)
class Family:
    """Figures of one kind and order. `weights`: [figures, combinations]; `single`: each is of one
    factor."""

    table: Table
    name: str
    weights: Floats
    single: bool

    def intervals(
        self,
        figures: Floats,
        sampling_se: Floats | None = None,
        sampling_df: float = float("inf"),
    ) -> Intervals:
        """Of figures [studies, figures, replicates, examples], all in a row, as
        `orchestrator.effects` has them."""
        import numpy as np

        from orchestrator.statistics.weighted import Reduced, intervals

        size, replicates, examples = figures.shape[1:]
        rows = figures.reshape(-1, replicates, examples)
        nothing, none = np.zeros(1), np.zeros(0, dtype=bool)
        return intervals(
            [Reduced(nothing, rows[:, i], none) for i in range(replicates)],
            self.table.clusters,
            [size] * len(rows),
            self.table.confidence,
            one_model=self.table.one_model,
            sampling_se=sampling_se,
            sampling_df=sampling_df,
        )


def tables(study: Study, plan: Plan, layout: Layout) -> Iterator[Table]:
    """What a factorial study asks, each once, however many arms it is asked of."""
    from orchestrator.effects.removal import Scale
    from orchestrator.error_share import judged_rule
    from orchestrator.judging import DEFAULT_SPLIT
    from orchestrator.study_file import Factorial

    design = study.file.design
    if not isinstance(design, Factorial):
        return
    rule = judged_rule(study.file)
    confidence = Scale().confidence if rule is None else rule.confidence
    if design.factors and rule is not None:
        split = rule.selection.report if rule.selection else DEFAULT_SPLIT
        clusters = layout.measured[split, rule.metric].clusters
        seeds = len(study.file.seeds)
        yield Table(
            "causal effects", design, tuple(design.factors), seeds, clusters, False, confidence
        )
    if design.removal is not None:
        for models, factors, clusters in _subjects(study, plan):
            costs = "removal costs"
            if models > 1:
                name = f"{costs} over {models} models"
                yield Table(name, design.removal, factors, models, clusters, False, confidence)
            name = f"{costs} of one model"
            yield Table(name, design.removal, factors, 1, clusters, True, confidence)


def families(table: Table) -> list[Family]:
    """Those of a table whose ends are simultaneous; the first are the Shapley values."""
    groups: dict[tuple[str, int], list[int]] = {}
    planned = table.planned
    for i, figure in enumerate(planned.figures):
        groups.setdefault((figure.kind, len(figure.of)), []).append(i)
    return [
        Family(table, _name(kind, order), planned.weights[rows], single=order == 1)
        for (kind, order), rows in sorted(
            groups.items(), key=lambda item: (item[0] != SHAPLEY, item[0][1])
        )
    ]


def distinct(found: list[Family]) -> list[Family]:
    """One of those whose figures hang together alike: with normal scores they err alike."""
    import numpy as np

    kept: dict[bytes, Family] = {}
    for one in found:
        products = one.weights @ one.weights.T
        scale = np.sqrt(np.diag(products))
        kept.setdefault(np.round(products / np.outer(scale, scale), 6).tobytes(), one)
    return list(kept.values())


def _name(kind: str, order: int) -> str:
    return f"{kind} of {order}" if order > 1 else kind


def _subjects(study: Study, plan: Plan) -> Iterator[tuple[int, tuple[str, ...], NDArray[np.intp]]]:
    """Models, factors and clusters, once of arms that are alike in all of them."""
    import numpy as np

    from orchestrator.calibration.layout import ASSUMED_UNITS
    from orchestrator.evaluation.tables import asked_points, point_table
    from orchestrator.statistics import cluster_index

    seen = set()
    by_arm: dict[str, list[PlannedTrial]] = {}
    for item in plan.trials:
        if asked_points(study, item.trial):
            by_arm.setdefault(item.trial.arm, []).append(item)
    for items in by_arm.values():
        first = items[0]
        factors = tuple(study.workload.switches(first.trial.config))
        done = next((one for one in items if one.record.outcome is not None), None)
        known = () if done is None else point_table(study, done.trial).clusters
        count = study.workload.scored_units(first.trial.config) or ASSUMED_UNITS
        clusters = cluster_index(known) if known else np.arange(count, dtype=np.intp)
        key = len(items), factors, clusters.tobytes()
        if factors and key not in seen:
            seen.add(key)
            yield len(items), factors, clusters
