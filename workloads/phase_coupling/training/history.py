"""A training's steps: the rows of its history, its scores, and the file that keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from workloads.contract import Scores
from workloads.phase_coupling.metrics import STEP_COLUMNS

SPLIT: Final = "steps"
HISTORY: Final = "history.json"
"""A trial's history among its artifacts: a list with an object for each step."""


@dataclass(frozen=True)
class Step:
    """One optimizer step, counted from 1. None: not measured, for want of oscillators.

    `loss` holds all terms and `u_loss` is |u - 0.5|, unweighted; both are means over the texts.
    Gradients are norms before clipping. `frequency_drift` is the RMS change of the natural
    frequencies since the start, after the step.
    """

    step: int
    loss: float
    ce: float
    u: float
    u_loss: float
    r: float | None = None
    core_gradient: float | None = None
    frequency_gradient: float | None = None
    frequency_drift: float | None = None
    tone: str | None = None
    action: str | None = None

    @property
    def ru(self) -> float | None:
        """Order parameter times normalised entropy."""
        return None if self.r is None else self.r * self.u

    def as_history(self) -> dict[str, Any]:
        """The ten keys of the source's history."""
        return {
            "step": self.step,
            "loss": self.loss,
            "ce_loss": self.ce,
            "u_loss": self.u_loss,
            "R": self.r,
            "U": self.u,
            "RU": self.ru,
            "tone": self.tone,
            "action": self.action,
            "perplexity": perplexity(self.ce),
        }

    def column(self, name: str) -> float | None:
        """A column of the scores."""
        value: float | None = getattr(self, name)
        return value

    def as_rows(self) -> dict[str, float | None]:
        """What is emitted at this step."""
        return {f"train/{name}": self.column(name) for name in STEP_COLUMNS}


@dataclass
class History:
    """The steps so far, in order and without gaps."""

    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """One more."""
        self.steps.append(step)

    def scores(self) -> Scores:
        """A unit per step; no unit where nothing was trained."""
        units = [str(step.step) for step in self.steps]
        columns = {name: [step.column(name) for step in self.steps] for name in STEP_COLUMNS}
        return Scores(split=SPLIT, units=units, clusters=units, columns=columns)

    def metrics(self) -> dict[str, float | None]:
        """`frequency_drift` after the last step, and the mean of `core_gradient`; None where
        nothing was trained."""
        reached = [s.core_gradient for s in self.steps if s.core_gradient is not None]
        return {
            "frequency_drift": self.steps[-1].frequency_drift if self.steps else None,
            "core_gradient": fmean(reached) if reached else None,
        }

    def write(self, path: Path) -> None:
        """Writes the source's form."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [step.as_history() for step in self.steps]
        path.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def to_json(self) -> list[dict[str, Any]]:
        """As plain JSON data."""
        return [asdict(step) for step in self.steps]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> History:
        """The history that gave this `to_json`."""
        return cls([Step(**row) for row in rows])


def perplexity(ce: float) -> float | None:
    """Exp of a cross-entropy in nats; None where that is beyond all numbers."""
    try:
        return math.exp(ce)
    except OverflowError:
        return None
