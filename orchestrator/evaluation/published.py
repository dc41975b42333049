"""What MLflow is shown of a model's points: figures among its run's final metrics, and tables.

studies/<instance>/models/<trial>/figures.json   stamp and figures
                                  tables/        points.csv and what `orchestrator.effects` adds,
                                                 or points-of-curves.csv

It is all made again from the points; keeping it makes a second look at a finished study cheap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.evaluation.point_files import (
    along_curve,
    coalitions_csv,
    curve_metrics,
    curves_csv,
)
from orchestrator.evaluation.points import point_hash
from orchestrator.evaluation.store import PointStore
from orchestrator.evaluation.tables import PointTable, point_table
from orchestrator.fractions import CurveAsked, curves_asked
from orchestrator.home import write_whole
from orchestrator.identity import canonical_json
from orchestrator.study_file import Fractions

if TYPE_CHECKING:
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study

FIGURES_VERSION = 2


class ModelFigures(msgspec.Struct, frozen=True):
    """Figures of one model, and when the last of its points was measured. `stamp` names the files
    they were made from."""

    subject: str
    stamp: str
    measured_at_s: float
    figures: dict[str, float | None] = {}
    series: dict[str, list[float | None]] = {}
    """Of a design `fractions`: the metric along each path, by the place of the value."""


def figures_of(study_folder: Path, identity: str) -> tuple[ModelFigures, Path] | None:
    """The figures that were kept last of a trial's model, and the folder of its tables."""
    folder = _folder(study_folder, identity)
    try:
        kept = msgspec.json.decode((folder / "figures.json").read_bytes(), type=ModelFigures)
    except (OSError, msgspec.MsgspecError):
        return None
    return kept, folder / "tables"


def keep_figures(study: Study, plan: Plan) -> None:
    """Makes figures and tables of every model whose points have changed since."""
    items = {item.trial.identity: item for item in plan.trials}
    for subject in plan.subjects:
        if not subject.subject or not (subject.known or subject.failed):
            continue
        store = PointStore.of(study.home, subject.subject, study.workload.version)
        stamp = f"{FIGURES_VERSION}/{store.stamp()}"
        known = figures_of(study.folder, subject.trial.identity)
        if known is None or (known[0].subject, known[0].stamp) != (subject.subject, stamp):
            _keep(study, items[subject.trial.identity], stamp)


def _keep(study: Study, item: PlannedTrial, stamp: str) -> None:
    table = point_table(study, item.trial)
    folder = _folder(study.folder, item.trial.identity)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    if isinstance(study.file.design, Fractions):
        kept = _keep_curves(study, item, table, stamp, folder / "tables")
    else:
        kept = _keep_effects(study, item, table, stamp, folder / "tables")
    write_whole(folder / "figures.json", msgspec.json.encode(kept), durable=False)


def _keep_effects(
    study: Study, item: PlannedTrial, table: PointTable, stamp: str, folder: Path
) -> ModelFigures:
    from orchestrator.effects import model_metrics, trial_effects
    from orchestrator.report.effect_files import write_model

    effects = trial_effects(study, item)
    write_whole(folder / "removal-points.csv", coalitions_csv(table), durable=False)
    if effects is not None:
        write_model(effects, folder)
    return ModelFigures(table.subject, stamp, table.measured_at_s or 0.0, model_metrics(effects))


def _keep_curves(
    study: Study, item: PlannedTrial, table: PointTable, stamp: str, folder: Path
) -> ModelFigures:
    curves = [curve for curve in curves_asked(study) if curve.arm == item.trial.arm]
    write_whole(folder / "points-of-curves.csv", curves_csv(curves, table), durable=False)
    assert isinstance(study.file.design, Fractions)
    measured_on = study.workload.measured_on(item.trial.config)
    series = {}
    for curve in curves:
        name = series_name(table.subject, curve, measured_on)
        for metric in curve_metrics(study.file.design):
            key = f"curve/{curve.path}/{metric}/{name}".replace("+", ":")
            series[key] = along_curve(curve, table, metric)
    return ModelFigures(table.subject, stamp, table.measured_at_s or 0.0, series=series)


def series_name(subject: str, curve: CurveAsked, measured_on: Mapping[str, Any]) -> str:
    """Six hexadecimal digits for the points of a curve on a model.

    The rows of a trial are those of all studies that ask it, and one that was written stays: a
    curve of other values, of the same path's name in another study, or of a model that was made
    again must not go on in the rows of this one.
    """
    points = [[point_hash(point, measured_on) for point in points] for points in curve.points]
    return hashlib.sha256(canonical_json([subject, points]).encode()).hexdigest()[:6]


def _folder(study_folder: Path, identity: str) -> Path:
    return study_folder / "models" / identity
