"""A workload whose model is known in part: what each example scores rises with the share known.

Its trial computes nothing that depends on a seed; what is measured needs numpy alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from workloads.contract import (
    Metric,
    Observed,
    Result,
    TrialContext,
    Workload,
    WorkloadConfig,
)
from workloads.errors import InputError
from workloads.evaluation import Measured, Packed, Point, Subject

UNITS = 12
FILLS = ("zero", "random")


class DialConfig(WorkloadConfig):
    middle: float = 0.5
    """The share at which half is recovered."""
    width: float = 0.1
    examples: Annotated[int, Observed()] = UNITS
    seeded: bool = False
    """Whether the seed enters the model."""
    faults: Annotated[str | None, Observed()] = None
    """A folder: a file `error` that holds a fraction makes its points fail."""
    log: Annotated[str | None, Observed()] = None
    """A file to which each point that is measured is appended, as JSON."""


class Dial(Workload[DialConfig]):
    """Points: `fraction` in (0, 1], `fill`, and a `draw` where the fill is random."""

    name: ClassVar[str] = "dial"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[DialConfig]] = DialConfig
    metrics: ClassVar[Mapping[str, Metric]] = {"size": Metric("bytes of the model")}
    point_metrics: ClassVar[Mapping[str, Metric]] = {
        "overlap": Metric("share that is recovered", limits=(0.0, 1.0)),
        "error_l2": Metric("share that is missing"),
    }
    sources: ClassVar[Sequence[str]] = ("tests.orchestrator.evaluation.dial_workload",)

    def deterministic(self, config: DialConfig) -> bool:
        return not config.seeded

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        return True

    def measured_on(self, config: DialConfig) -> Mapping[str, Any]:
        return {"examples": config.examples}

    def point(self, config: DialConfig, point: Point) -> Point:
        if strange := set(point) - {"fraction", "fill", "draw"}:
            raise InputError(f"unknown key '{min(strange)}'. Valid: draw, fill, fraction.")
        fraction, fill = float(point.get("fraction", 1.0)), point.get("fill", "zero")
        if not 0 < fraction <= 1:
            raise InputError(f"fraction is {fraction:g}, but should be above 0 and at most 1.")
        if fill not in FILLS:
            raise InputError(f"fill is {fill!r}. Valid: {', '.join(FILLS)}.")
        if fraction == 1:
            return {"fraction": 1.0}
        if fill == "zero":
            return {"fraction": fraction, "fill": fill}
        return {"fraction": fraction, "fill": fill, "draw": point.get("draw", 0)}

    def run(self, config: DialConfig, context: TrialContext) -> Result:
        with context.checkpoints.saving(1) as folder:
            (folder / "model.json").write_text(json.dumps([config.middle, config.width]))
        return Result({"size": 16.0})

    def pack_subject(self, config: DialConfig, checkpoint: Path | None) -> Packed:
        if checkpoint is None:
            raise InputError("there is no checkpoint; run the trial again.")
        return {"model": json.loads((checkpoint / "model.json").read_text())}

    def open_subject(self, config: DialConfig, packed: Packed) -> DialSubject:
        return DialSubject(config, *packed["model"])


class DialSubject(Subject):
    score_metric = "overlap"

    def __init__(self, config: DialConfig, middle: float, width: float) -> None:
        self.config, self.middle, self.width = config, middle, width
        self.units = [f"u{index}" for index in range(config.examples)]
        self.clusters = [f"text{index // 2}" for index in range(config.examples)]
        self.offsets = np.linspace(-0.05, 0.05, config.examples)

    def measure(self, points: Sequence[Point]) -> Iterator[Measured]:
        for point in points:
            yield self._measured(point)

    def _measured(self, point: Point) -> Measured:
        fraction = point["fraction"]
        if self.config.log:
            with open(self.config.log, "a") as log:
                log.write(json.dumps(point) + "\n")
        if _fails(self.config, fraction):
            return Measured({}, error="what is known is not enough")
        shift = 0.02 * (1 + point["draw"]) if point.get("fill") == "random" else 0.0
        scores = 1 / (1 + np.exp((self.middle + self.offsets + shift - fraction) / self.width))
        values = {"overlap": float(scores.mean()), "error_l2": 1 - fraction}
        note = json.dumps([{"prompt": "once", "text": f"{fraction:g} of it"}])
        return Measured(values, scores.astype(np.float32), note=note)


def _fails(config: DialConfig, fraction: float) -> bool:
    path = Path(config.faults or "/nonexistent") / "error"
    return path.is_file() and float(path.read_text()) == fraction
