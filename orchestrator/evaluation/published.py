"""What MLflow is shown of a model's points: figures among its run's final metrics, and tables.

studies/<instance>/models/<trial>/figures.json   stamp and figures
                                  tables/        points.csv and what `orchestrator.effects` adds

It is all made again from the points; keeping it makes a second look at a finished study cheap.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.evaluation.store import PointStore
from orchestrator.evaluation.tables import PointTable, point_table
from orchestrator.home import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    from orchestrator.effects import model_metrics, trial_effects
    from orchestrator.report.effect_files import write_model

    table = point_table(study, item.trial)
    effects = trial_effects(study, item)
    folder = _folder(study.folder, item.trial.identity)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    write_whole(folder / "tables" / "removal-points.csv", _csv(table), durable=False)
    if effects is not None:
        write_model(effects, folder / "tables")
    measured_at_s = table.measured_at_s or 0.0
    kept = ModelFigures(table.subject, stamp, measured_at_s, model_metrics(effects))
    write_whole(folder / "figures.json", msgspec.json.encode(kept), durable=False)


def _csv(table: PointTable) -> bytes:
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


def _folder(study_folder: Path, identity: str) -> Path:
    return study_folder / "models" / identity
