"""What each step of training was: the columns of the scores, and a file that keeps them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

from workloads.contract import Scores
from workloads.phase_coupling.kssm.columns import STEP_COLUMNS, STEPS
from workloads.phase_coupling.kssm.metrics import LANTERN, LANTERN_STEPS

HISTORY: Final = "history.csv"
Columns = dict[str, list[float | None]]


class History:
    """A row per optimizer step; None is not measured."""

    def __init__(self, columns: Mapping[str, Sequence[float | None]] | None = None) -> None:
        self.columns: Columns = {name: [] for name in (*STEP_COLUMNS, "determinant", "grad_norm")}
        for name, values in (columns or {}).items():
            self.columns[name] = list(values)

    @property
    def steps(self) -> int:
        """Rows so far."""
        return len(self.columns["loss"])

    def add(self, row: Mapping[str, float | None]) -> None:
        """The next step."""
        for name, values in self.columns.items():
            values.append(row.get(name))

    def scores(self) -> Scores:
        """The split `steps`: each step is a unit and a cluster of its own."""
        names = [str(step) for step in range(1, self.steps + 1)]
        return Scores(STEPS, names, names, {name: self.columns[name] for name in STEP_COLUMNS})

    def metrics(self) -> dict[str, float | None]:
        """Means over the end of training; `late_gain` and `lantern_share` by their descriptions."""
        steps, ce = self.steps, self.columns["ce"]
        r = self.columns["r"][-LANTERN_STEPS:]
        known = [value for value in r if value is not None]
        tenth, quarter = max(1, steps // 10), steps // 4
        before, after = _mean(ce[-2 * quarter : -quarter]), _mean(ce[-quarter:])
        return {
            "lantern_share": fmean(value >= LANTERN for value in known) if known else None,
            "train_r": _mean(r),
            "train_u": _mean(self.columns["u"][-LANTERN_STEPS:]),
            "train_loss": _mean(self.columns["loss"][-tenth:]),
            "train_ce": _mean(ce[-tenth:]),
            "late_gain": None if not quarter or before is None or after is None else before - after,
        }

    def write(self, path: Path) -> None:
        """As CSV: a column `step`, an empty cell for what was not measured."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *self.columns])
            for step, row in enumerate(zip(*self.columns.values(), strict=True), start=1):
                writer.writerow([step, *("" if value is None else repr(value) for value in row)])


def read_history(path: Path) -> History:
    """What `History.write` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name != "step"]
    return History(
        {name: [float(row[name]) if row[name] else None for row in rows] for name in names}
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
