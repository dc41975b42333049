"""What a run measured at each of its steps: "not measured" is kept apart from "not finite"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workloads.contract import Scores
from workloads.structural_health.config import MEASURED

if TYPE_CHECKING:
    from torch import Tensor

_COLUMN_OF = {monitor: "sv_ratio" if monitor == "svd_ratio" else monitor for monitor in MEASURED}
COLUMNS = ("loss", *_COLUMN_OF.values())
"""Columns of the scores. All but the loss and the energy need a full window."""


class Series:
    """One value per step and column; None: not measured, NaN: measured, and not finite."""

    def __init__(self, steps: int) -> None:
        self._values: dict[str, list[float | None]] = {name: [None] * steps for name in COLUMNS}

    def __getitem__(self, column: str) -> list[float | None]:
        return self._values[column]

    def put(self, step: int, loss: float, health: Mapping[str, float | None]) -> None:
        """What was seen at a step, `health` being a monitor's rows `health/…`."""
        self._values["loss"][step] = _finite_or_nan(loss)
        for monitor, column in _COLUMN_OF.items():
            value = health[f"health/{monitor}"]
            self._values[column][step] = None if value is None else _finite_or_nan(value)

    def first(self, column: str, above: float) -> int | None:
        """The first step whose value exceeds `above`."""
        return next(
            (s for s, v in enumerate(self[column]) if v is not None and v > above),
            None,
        )

    def first_nonfinite(self) -> int | None:
        """The first step with anything that is not finite."""
        steps = (
            s for name in COLUMNS for s, v in enumerate(self[name]) if v is not None and v != v
        )
        return min(steps, default=None)

    def last(self, column: str) -> float | None:
        """The last step's value, where it is finite."""
        value = self[column][-1]
        return value if value is not None and math.isfinite(value) else None

    def largest(self, column: str) -> float | None:
        """The largest finite value."""
        return max((v for v in self[column] if v is not None and math.isfinite(v)), default=None)

    def to_scores(self) -> Scores:
        """Of the split `steps`: a step is a unit, and its own cluster."""
        units = [str(step) for step in range(len(self["loss"]))]
        return Scores(split="steps", units=units, clusters=units, columns=dict(self._values))

    def to_state(self) -> dict[str, Tensor]:
        """Per column the values, float64 [steps], and whether they were measured, bool [steps]."""
        import torch

        state = {}
        for name, values in self._values.items():
            numbers = [0.0 if value is None else value for value in values]
            state[f"{name}.values"] = torch.tensor(numbers, dtype=torch.float64)
            state[f"{name}.measured"] = torch.tensor([value is not None for value in values])
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `to_state` gave."""
        for name in COLUMNS:
            numbers = state[f"{name}.values"].tolist()
            measured = state[f"{name}.measured"].tolist()
            self._values[name] = [
                value if there else None for value, there in zip(numbers, measured, strict=True)
            ]


def _finite_or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.nan
