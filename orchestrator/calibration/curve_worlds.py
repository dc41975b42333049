"""What a study's curves and questions are simulated as: the same curves, curves that differ by the
margins, by more, and the curves that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.calibration.curve_laws import Shape, Track
from orchestrator.calibration.curve_questions import Asked, AskedValues, AskedWidth, Curve, asked_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import Layout
    from orchestrator.curves.estimating import Asks
    from orchestrator.planning import Plan
    from orchestrator.study import Study
    from orchestrator.study_file import Fractions

    Floats = NDArray[np.float64]

MOST_HEIGHT = 0.6
"""How much of the heights of curves the steps between them may take up."""


@dataclass(frozen=True, eq=False)
class CurveWorld:
    """The curves of a study and what is asked of them.

    Attributes:
        tracks: by name, those that a question names.
        asked: the questions that can be asked of curves that are made up.
        clusters: [examples] numbered from 0.
        family: all questions of the study.
    """

    tracks: Mapping[str, Track]
    asked: tuple[Asked, ...]
    clusters: NDArray[np.intp]
    asks: Asks
    family: int

    def values(self) -> dict[str, Floats]:
        """By curve, as arrays."""
        import numpy as np

        return {name: np.asarray(one.values) for name, one in self.tracks.items()}

    def of_kind(self, kind: type[Asked]) -> tuple[Asked, ...]:
        """The questions about widths, or those by value."""
        return tuple(one for one in self.asked if isinstance(one, kind))

    def truth(self, asked: Asked, means: Mapping[str, Floats]) -> Floats:
        """[rows] what is true where curves have these means."""
        import numpy as np

        from orchestrator.statistics.widths import width

        if isinstance(asked, AskedValues):
            return np.asarray(asked.ours @ means[asked.curve] - asked.theirs @ means[asked.than])
        values, levels = self.values(), (self.asks.low, self.asks.high)
        one, other = (width(values[n], means[n], *levels) for n in (asked.curve, asked.than))
        return np.atleast_1d(one - other)

    def apart(self, step: Callable[[float], float], shape: Shape, kind: str = "") -> CurveWorld:
        """Every question's curve above its other curve by `step` of the margin, or its rise as much
        narrower; `kind`: `widths` or `values` alone. Where questions go round in a circle, and
        where a curve leaves no room, some differ by less: what is true is worked out from the
        means."""
        tracks = dict(self.tracks)
        if kind != "widths":
            tracks = _lifted(tracks, self.of_kind(AskedValues), step)
        if kind != "values":
            together = _groups(tracks, self.of_kind(AskedValues))
            tracks = _stretched(tracks, self.of_kind(AskedWidth), together, step, shape, self.asks)
        return replace(self, tracks=tracks)


def read_world(study: Study, plan: Plan, layout: Layout) -> CurveWorld | None:
    """None for a study without curves or questions."""
    from orchestrator.calibration.layout import measured
    from orchestrator.fractions import curves_asked
    from orchestrator.judging import DEFAULT_SPLIT
    from orchestrator.study_file import Fractions

    design = study.file.design
    if not isinstance(design, Fractions) or not design.questions:
        return None
    named = {
        f"{side.arm}/{side.path}"
        for question in design.questions.values()
        for side in (question.curve, question.than)
    }
    asked = {f"{one.arm}/{one.path}": one for one in curves_asked(study)}
    scale: dict[str, list[float]] = {}
    for one in asked.values():
        scale[one.along] = sorted({*scale.get(one.along, []), *one.values})
    tracks, curves = {}, {}
    metrics = {q.by for q in design.questions.values() if q.kind == "matched"}
    for name, one in asked.items():
        if name not in named:
            continue
        along = scale[one.along]
        places = tuple(along.index(value) / max(len(along) - 1, 1) for value in one.values)
        draws = max(len(points) for points in one.points)
        tracks[name] = Track(
            name,
            one.values,
            places,
            whole=one.along == design.along and one.values[-1] == 1.0,
            draws=draws,
            random=tuple(len(points) > 1 for points in one.points),
        )
        by = tuple(1.0 - place for place in places)
        curves[name] = Curve(one.values, dict.fromkeys(metrics, by))
    examples = measured(study, plan, DEFAULT_SPLIT, design.metric)
    return CurveWorld(
        tracks,
        tuple(asked_of(design.questions, curves)),
        examples.clusters,
        asks_of(study, design),
        len(design.questions),
    )


def asks_of(study: Study, design: Fractions) -> Asks:
    """What its curves are asked, at the confidence that they are judged with."""
    from orchestrator.curves.estimating import Asks
    from orchestrator.error_share import shared_confidence

    confidence = shared_confidence(study.file, design.confidence)
    return Asks(design.metric, design.level, design.low, design.high, confidence)


def _groups(tracks: Mapping[str, Track], asked: Sequence[Asked]) -> dict[str, str]:
    """Curve to the first of those that it is compared with by value, by whatever way."""
    group = {name: name for name in tracks}
    for one in asked:
        old, new = group[one.than], group[one.curve]
        group = {name: new if at == old else at for name, at in group.items()}
    return group


def _levels(
    names: Sequence[str], edges: Sequence[tuple[str, str, float]]
) -> Iterator[tuple[str, float]]:
    """Names with levels such that each edge (upper, lower, step) is as high as its step, as far as
    the edges before it leave that open; the lowest of those that hang together is at 0."""
    left = list(names)
    while left:
        level = {left[0]: 0.0}
        grew = True
        while grew:
            grew = False
            for upper, lower, step in edges:
                if (upper in level) != (lower in level):
                    grew = True
                    if upper in level:
                        level[lower] = level[upper] - step
                    else:
                        level[upper] = level[lower] + step
        least = min(level.values())
        for name, at in level.items():
            yield name, at - least
        left = [name for name in left if name not in level]


def _lifted(
    tracks: Mapping[str, Track], asked: Sequence[Asked], step: Callable[[float], float]
) -> dict[str, Track]:
    edges = [(one.curve, one.than, step(one.margin)) for one in asked if one.curve != one.than]
    level = dict(_levels(list(tracks), edges))
    most = max(level.values(), default=0.0)
    fits = min(1.0, MOST_HEIGHT / most) if most else 1.0
    height = 1.0 - most * fits
    return {
        name: replace(one, floor=level[name] * fits, height=height) for name, one in tracks.items()
    }


def _stretched(
    tracks: Mapping[str, Track],
    asked: Sequence[Asked],
    together: Mapping[str, str],
    step: Callable[[float], float],
    shape: Shape,
    asks: Asks,
) -> dict[str, Track]:
    """Widths of curves that are compared by value stay alike: those are stretched together."""
    edges = [
        (together[one.than], together[one.curve], step(one.margin))
        for one in asked
        if together[one.curve] != together[one.than]
    ]
    if not edges:
        return dict(tracks)
    first: dict[str, str] = {}
    for one in asked:
        for name in (one.curve, one.than):
            first.setdefault(together[name], name)
    widths = dict(_levels(list(first), edges))
    base = next(name for name, level in widths.items() if level == 0.0)
    narrowest = tracks[first[base]].width(shape, asks.low, asks.high)
    stretch = {
        group: tracks[first[group]].stretched(shape, narrowest + level, asks.low, asks.high).stretch
        for group, level in widths.items()
    }
    return {
        name: replace(one, stretch=stretch.get(together[name], 1.0)) for name, one in tracks.items()
    }
