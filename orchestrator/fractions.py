"""The design `fractions`: what it asks of the model of each arm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.curve_design import DRAW, Fractions, PathFile
from orchestrator.errors import UsageError
from orchestrator.identity import canonical_json
from workloads.contract import Workload
from workloads.errors import InputError

if TYPE_CHECKING:
    from orchestrator.study import Study
    from workloads.contract import WorkloadConfig
    from workloads.evaluation import Point


@dataclass(frozen=True)
class CurveAsked:
    """What one path asks of the model of one arm.

    Attributes:
        along: the key of a point that the values are of.
        values: [values] rising.
        points: [values][draws] in full (`Workload.point`), as `asked_points` has them; one alone
            at a value where nothing is random, and fewer than draws where some come to the same.
    """

    arm: str
    path: str
    along: str
    values: tuple[float, ...]
    points: tuple[tuple[Point, ...], ...]


def curves_asked(study: Study) -> tuple[CurveAsked, ...]:
    """Every curve of a study, by arm and then path, each in the order of the design; none for
    another design. Raises `UsageError` naming arm, path and value of a point that cannot be asked.
    """
    design = study.file.design
    if not isinstance(design, Fractions):
        return ()
    return tuple(
        curve
        for arm in study.arms()
        for curve in curves_of_arm(design, study.workload, arm.name, study.maker.config(arm))
    )


def curves_of_arm(
    design: Fractions, workload: Workload[Any], arm: str, config: WorkloadConfig
) -> tuple[CurveAsked, ...]:
    """The curves of one arm, whose resolved configuration is given. Raises as `curves_asked`."""
    return tuple(
        CurveAsked(
            arm,
            name,
            design.key(path),
            design.along_values(path),
            tuple(
                _points(workload, config, design, path, value, f"arm '{arm}', path '{name}'")
                for value in design.along_values(path)
            ),
        )
        for name, path in design.paths.items()
        if arm in design.arms_of(path)
    )


def points_in_order(curves: Iterable[CurveAsked]) -> Iterator[Point]:
    """By path, draw and value, so that neighbours differ least: a point along one random draw is
    the one before and a little more."""
    for curve in curves:
        for draw in range(max(len(points) for points in curve.points)):
            for points in curve.points:
                if draw < len(points):
                    yield points[draw]


def _points(
    workload: Workload[Any],
    config: WorkloadConfig,
    design: Fractions,
    path: PathFile,
    value: float,
    where: str,
) -> tuple[Point, ...]:
    found: dict[str, Point] = {}
    for draw in path.draws:
        asked = {**path.point, design.key(path): value, DRAW: draw}
        try:
            point = dict(workload.point(config, asked))
        except InputError as error:
            raise UsageError(f"{where} at {design.key(path)}={value:g}: {error}") from error
        found.setdefault(canonical_json(point), point)
    return tuple(found.values())
