"""The curves of a study as they were measured, to be drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.calibration.curve_laws import Drawn, Track
from orchestrator.calibration.curve_questions import Curve, asked_of
from orchestrator.calibration.curve_worlds import CurveWorld, asks_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.curves.gathering import Gathered
    from orchestrator.planning import Plan
    from orchestrator.study import Study

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """`scores` [values, examples] over draws; `apart` [draws, values] how far the mean of each draw
    lies from that of all, None of a curve without."""

    scores: Floats
    apart: Floats | None


@dataclass(frozen=True, eq=False)
class MeasuredWorld:
    """The curves that questions ask about, by name, and what is asked."""

    world: CurveWorld
    curves: Mapping[str, MeasuredCurve]

    def draw(self, studies: int, rng: np.random.Generator) -> dict[str, Drawn]:
        """Clusters with replacement, each by one of its size, the same in all curves; random draws
        with replacement too, spread out by as much as drawing from so few makes them narrower."""
        import numpy as np

        picked = np.stack([self._examples(rng) for _ in range(studies)])
        found = {}
        for name, one in self.curves.items():
            scores = np.moveaxis(one.scores[:, picked], 1, 0)
            if one.apart is None:
                found[name] = Drawn(scores, scores.mean(axis=-1)[None])
                continue
            count = len(one.apart)
            apart = one.apart[rng.integers(count, size=(count, studies))]
            apart = apart * np.sqrt(count / (count - 1))
            scores = scores + apart.mean(axis=0)[..., None]
            middle = scores.mean(axis=-1)
            found[name] = Drawn(scores, middle + apart - apart.mean(axis=0))
        return found

    def _examples(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """[examples] which example stands in the place of each."""
        import numpy as np

        clusters = self.world.clusters
        sizes = np.bincount(clusters)
        order = np.argsort(clusters, kind="stable")
        starts = np.cumsum(sizes) - sizes
        picked = np.empty(len(clusters), dtype=np.intp)
        for size in np.unique(sizes):
            alike = np.flatnonzero(sizes == size)
            within = np.arange(size)
            drawn = alike[rng.integers(len(alike), size=len(alike))]
            picked[order[starts[alike][:, None] + within]] = order[starts[drawn][:, None] + within]
        return picked


def measured_world(study: Study, plan: Plan) -> MeasuredWorld | None:
    """None where a curve that a question names is not measured in full, or on other examples."""
    from orchestrator.curves.gathering import gather
    from orchestrator.fractions import curves_asked
    from orchestrator.statistics import cluster_index
    from orchestrator.study_file import Fractions

    design = study.file.design
    assert isinstance(design, Fractions)
    sides = [side for one in design.questions.values() for side in (one.curve, one.than)]
    names = list(dict.fromkeys(f"{side.arm}/{side.path}" for side in sides))
    asked = [one for one in curves_asked(study) if f"{one.arm}/{one.path}" in names]
    found = {one.name: one for one in gather(study, plan, asked, design.metric)}
    curves = list(found.values())
    first = curves[0]
    if any(one.scores is None or one.problems for one in curves):
        return None
    if any((one.units, one.clusters) != (first.units, first.clusters) for one in curves):
        return None
    seen = {name: _seen(one) for name, one in found.items()}
    world = CurveWorld(
        {name: _track(one) for name, one in found.items()},
        tuple(asked_of(design.questions, seen)),
        cluster_index(first.clusters),
        asks_of(study, design),
        len(design.questions),
    )
    return MeasuredWorld(world, {name: _measured(one) for name, one in found.items()})


def _seen(one: Gathered) -> Curve:
    """With the metrics that every value has."""
    shared = set.intersection(*(set(at.metrics) for at in one.values))
    told = {name: [at.metrics[name] for at in one.values] for name in shared}
    return Curve(
        tuple(at.value for at in one.values),
        {
            name: tuple(value for value in values if value is not None)
            for name, values in told.items()
            if None not in values
        },
    )


def _track(one: Gathered) -> Track:
    values = tuple(at.value for at in one.values)
    random = tuple(at.random for at in one.values)
    return Track(
        one.name, values, values, False, 1 if one.draws is None else len(one.draws), random
    )


def _measured(one: Gathered) -> MeasuredCurve:
    import numpy as np

    assert one.scores is not None
    draws = one.draws
    apart = None if draws is None else draws - draws.mean(axis=0)
    return MeasuredCurve(np.asarray(one.scores, dtype=np.float64), apart)
