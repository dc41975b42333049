"""The points of one model as tables: a row for each coalition, or for each place of a curve."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.curve_design import DRAW, Fractions, Matched
from orchestrator.evaluation.points import canonical_point
from orchestrator.identity import canonical_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.evaluation.tables import PointTable
    from orchestrator.fractions import CurveAsked


def coalitions_csv(table: PointTable) -> bytes:
    """A row per point: what is on, the values ("" for not measured), why it failed."""
    text = io.StringIO()
    names = sorted(table.values)
    writer = csv.writer(text)
    writer.writerow(["on", *names, "error"])
    missing = set(table.missing)
    for index, on in enumerate(table.on):
        shown = "+".join(name for name in table.factors if name in on) or "none"
        values = [_number(table.values, name, index) for name in names]
        error = "not measured" if index in missing else table.errors.get(index, "")
        writer.writerow([shown, *values, error])
    return text.getvalue().encode()


def _number(values: Mapping[str, NDArray[np.float64]], name: str, index: int) -> str:
    value = float(values[name][index])
    return "" if value != value else repr(value)


def curves_csv(curves: Sequence[CurveAsked], table: PointTable) -> bytes:
    """A row per path, value and draw: the point as JSON, the values ("" for not measured), why it
    failed, and what its subject noted."""
    text = io.StringIO()
    names = sorted(table.values)
    writer = csv.writer(text)
    writer.writerow(["path", "along", "value", "draw", "point", *names, "error", "note"])
    missing = set(table.missing)
    for curve in curves:
        for value, points in zip(curve.values, curve.points, strict=True):
            for point in points:
                index = table.index(point)
                error = "not measured" if index in missing else table.errors.get(index, "")
                writer.writerow(
                    [
                        curve.path,
                        curve.along,
                        repr(value),
                        point.get(DRAW, ""),
                        canonical_json(canonical_point(point)),
                        *(_number(table.values, name, index) for name in names),
                        error,
                        table.notes.get(index, ""),
                    ]
                )
    return text.getvalue().encode()


def curve_metrics(design: Fractions) -> tuple[str, ...]:
    """What is shown along a curve: its own metric, and those by which questions match."""
    by = [q.by for q in design.questions.values() if isinstance(q, Matched)]
    return tuple(dict.fromkeys([design.metric, *by]))


def along_curve(curve: CurveAsked, table: PointTable, metric: str) -> list[float | None]:
    """[values] the mean over the draws; None unless all of them were measured, and are finite."""
    values = table.values.get(metric)
    if values is None and table.scores is not None and table.score_metric == metric:
        values = table.scores.mean(axis=1, dtype="float64")
    if values is None:
        return [None] * len(curve.values)
    means = (
        sum(float(values[table.index(point)]) for point in points) / len(points)
        for points in curve.points
    )
    return [mean if math.isfinite(mean) else None for mean in means]
