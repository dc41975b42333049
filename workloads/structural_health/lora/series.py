"""What a trial measures at each step, and the scores and metrics it adds up to."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from workloads.contract import Scores
from workloads.structural_health.lora.metrics import BAND
from workloads.structural_health.lora_config import MEASURED

SPLIT = "steps"
SERIES = "series.csv"
"""A trial's series among its artifacts: a row per step, a cell that is empty was not measured."""
COLUMNS = {"svd_ratio": "sv_ratio"}
"""Monitor -> its column, where that has another name."""


def column_of(monitor: str) -> str:
    """The column of the scores that holds what a monitor measures."""
    return COLUMNS.get(monitor, monitor)


@dataclass
class Series:
    """Columns by step, from step 1 on: None is not measured (the window is not full yet), NaN is
    measured and not finite.

    `pads` and `positions` count over all batches so far.
    """

    columns: dict[str, list[float | None]] = field(
        default_factory=lambda: {name: [] for name in ("loss", *map(column_of, MEASURED))}
    )
    pads: int = 0
    positions: int = 0

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.columns["loss"])

    def add(self, loss: float, health: Mapping[str, float | None]) -> None:
        """One more step: its loss, and its rows `health/…`.

        A vector that is not finite counts at once, and not only when the window is full.
        """
        self.columns["loss"].append(loss)
        lost = bool(health.get("health/nonfinite"))
        for monitor in MEASURED:
            value = math.nan if lost else health.get(f"health/{monitor}")
            self.columns[column_of(monitor)].append(value)

    def scores(self) -> Scores:
        """A unit per step."""
        steps = [str(step) for step in range(1, self.steps + 1)]
        return Scores(split=SPLIT, units=steps, clusters=steps, columns=dict(self.columns))

    def metrics(self, threshold: float) -> dict[str, float | None]:
        """Means and counts over the steps with a full window; None where there is nothing."""
        ratios, losses = self._finite("sv_ratio"), self._finite("loss")
        low, high = BAND
        last = self.columns["loss"][-1] if self.steps else None
        return {
            "final_loss": last if last is not None and math.isfinite(last) else None,
            "mean_loss": _mean(losses) if len(losses) == self.steps else None,
            "mean_ratio": _mean(ratios),
            "max_ratio": max(ratios, default=None),
            "mean_cosine": _mean(self._finite("implied_cosine")),
            "mean_effective_rank": _mean(self._finite("effective_rank")),
            "band_share": _share(ratios, lambda ratio: low <= ratio <= high),
            "collapsed_steps": float(sum(ratio > threshold for ratio in ratios)),
            "measured_steps": float(len(ratios)),
            "nonfinite_steps": float(sum(map(_lost, self.columns["sv_ratio"]))),
            "nonfinite_losses": float(sum(map(_lost, self.columns["loss"]))),
            "pad_share": self.pads / self.positions if self.positions else None,
        }

    def write_csv(self, path: Path) -> None:
        """Writes a row per step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *self.columns])
            for step, row in enumerate(zip(*self.columns.values(), strict=True), start=1):
                writer.writerow([step, *("" if value is None else repr(value) for value in row)])

    @classmethod
    def read_csv(cls, path: Path) -> Series:
        """The series of a file that `write_csv` wrote; it does not say how much was padding."""
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in (rows[0] if rows else {}) if name != "step"]
        return cls({name: [float(r[name]) if r[name] else None for r in rows] for name in names})

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, which knows no NaN and no infinity: those become words."""
        written = {
            name: [repr(v) if v is not None and not math.isfinite(v) else v for v in column]
            for name, column in self.columns.items()
        }
        return {"columns": written, "pads": self.pads, "positions": self.positions}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Series:
        """The series that gave this `to_json`."""
        columns = {
            name: [float(value) if isinstance(value, str) else value for value in column]
            for name, column in data["columns"].items()
        }
        return cls(columns, data["pads"], data["positions"])

    def _finite(self, name: str) -> list[float]:
        return [v for v in self.columns[name] if v is not None and math.isfinite(v)]


def _lost(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _share(values: Sequence[float], holds: Callable[[float], bool]) -> float | None:
    return sum(map(holds, values)) / len(values) if values else None
