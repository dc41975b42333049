"""Tables for other programs: one row per arm, and one per trial."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.report.rows import cell, columns, factor_names
from orchestrator.verdict.numbers import MISSING
from orchestrator.verdict.result import Verdict

ARM_COLUMNS = (
    "arm role n planned mean ci_low ci_high delta delta_ci_low delta_ci_high label band why"
)
EXTRA_COLUMNS = "floor_corrected selection_mean seed_sd collapsed diverged failed questions"


def arms_csv(verdict: Verdict) -> str:
    """One row per arm and control in the study's order; what was not measured is "n/a"."""
    everyone = (*verdict.arms, *verdict.controls)
    factors = factor_names(everyone)
    names = [*ARM_COLUMNS.split(), *EXTRA_COLUMNS.split(), *(f"factor.{name}" for name in factors)]
    rows = [
        [
            *(cell(getattr(arm, name)) for name in ARM_COLUMNS.split()),
            *(cell(arm.extra.get(name)) for name in EXTRA_COLUMNS.split()),
            *(cell(arm.factors.get(name)) for name in factors),
        ]
        for arm in everyone
    ]
    return _csv(names, rows)


def trials_csv(table: Sequence[Mapping[str, Any]]) -> str:
    """The trials as given, one row each; a column that a row lacks is "n/a" there."""
    names = columns(table)
    return _csv(names, [[cell(row.get(name)) for name in names] for row in table])


def _csv(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[value or MISSING for value in row] for row in rows])
    return out.getvalue()
