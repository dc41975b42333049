"""Curves as a workload's summary sees them: plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.limits import clipped
from workloads.views import CurveView, Estimate

if TYPE_CHECKING:
    from orchestrator.curve_design import Fractions
    from orchestrator.curves.curve import Curve, CurvePoint, StudyCurves


def curve_views(design: Fractions, curves: StudyCurves) -> tuple[CurveView, ...]:
    """Every curve with all its metrics: the study's own with its interval, those that come with a
    standard error over examples with a t interval from it, the others without."""
    return tuple(
        CurveView(
            arm=one.arm,
            role=one.role,
            path=one.path,
            along=one.along,
            point=dict(design.paths[one.path].point),
            values=tuple(point.value for point in one.points),
            metrics=estimates_of(one, curves),
            notes=tuple(tuple(point.notes) for point in one.points),
        )
        for one in curves.curves
    )


def estimates_of(curve: Curve, study: StudyCurves) -> dict[str, tuple[Estimate, ...]]:
    """Every metric of a curve of a study by value, its own first."""
    from orchestrator.statistics.quantiles import t_upper

    clusters = curve.clusters or 0
    times = float(t_upper((1 - study.confidence) / 2, clusters - 1)) if clusters > 1 else None
    others = dict.fromkeys(name for point in curve.points for name in point.metrics)
    own = {curve.metric: tuple(Estimate(p.mean, p.low, p.high) for p in curve.points)}
    rest = {
        name: tuple(
            _estimate(point, name, times, study.limits.get(name, (None, None)))
            for point in curve.points
        )
        for name in others
        if name != curve.metric
    }
    return own | rest


def _estimate(
    point: CurvePoint,
    name: str,
    times: float | None,
    limits: tuple[float | None, float | None],
) -> Estimate:
    value, spread = point.metrics.get(name), point.spreads.get(name)
    if value is None or spread is None or times is None:
        return Estimate(value)
    low, high = (clipped(value + way * times * spread, limits) for way in (-1, 1))
    return Estimate(value, low, high)
