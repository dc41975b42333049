"""A workload whose model is a cooperative game: each player adds something, some pairs more.

Its trial adds up a few random numbers and saves them; what is measured needs numpy alone. It can
misbehave in the ways a real subject can, steered by files, so that a fault can be taken away.
"""

from __future__ import annotations

import json
import os
import signal
import time
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
from workloads.evaluation import Measured, Packed, Point, SwitchableSubject

UNITS = 40


class GameConfig(WorkloadConfig):
    players: int = 3
    examples: Annotated[int, Observed()] = UNITS
    saves: bool = True
    work_s: Annotated[float, Observed()] = 0.0
    """How long a point computes."""
    faults: Annotated[str | None, Observed()] = None
    """A folder: a file `<fault>` in it makes the subject misbehave so."""
    log: Annotated[str | None, Observed()] = None
    """A file to which each point that is measured is appended: `node/pid worth names`."""


class Game(Workload[GameConfig]):
    """Worth of a coalition: what its players bring, and 5 more for each pair of neighbours."""

    name: ClassVar[str] = "game"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[GameConfig]] = GameConfig
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("worth of all", "percent", higher_is_better=True)
    }
    sources: ClassVar[Sequence[str]] = ("tests.orchestrator.evaluation.game_workload",)

    def switches(self, config: GameConfig) -> Sequence[str]:
        return tuple(f"p{index}" for index in range(config.players))

    def measured_on(self, config: GameConfig) -> Mapping[str, Any]:
        return {"examples": config.examples}

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        return True

    def run(self, config: GameConfig, context: TrialContext) -> Result:
        worth = np.random.default_rng(context.seed).uniform(1, 10, config.players)
        if config.saves:
            with context.checkpoints.saving(1) as folder:
                (folder / "worth.json").write_text(json.dumps(list(worth)))
        return Result({"accuracy": float(worth.sum())})

    def pack_subject(self, config: GameConfig, checkpoint: Path | None) -> Packed:
        _misbehave(config, "pack")
        if checkpoint is None:
            raise InputError("there is no checkpoint; run the trial again.")
        worth = json.loads((checkpoint / "worth.json").read_text())
        return {"worth": np.array(worth), "ballast": np.zeros(50_000)}

    def open_subject(self, config: GameConfig, packed: Packed) -> GameSubject:
        _misbehave(config, "open")
        if _has(config, "opening_hangs"):
            time.sleep(3600)
        return GameSubject(config, packed["worth"])


class GameSubject(SwitchableSubject):
    score_metric = "accuracy"

    def __init__(self, config: GameConfig, worth: np.ndarray[Any, Any]) -> None:
        self.config, self.worth = config, worth
        self.units = [f"u{index}" for index in range(config.examples)]
        self.clusters = [f"c{index % 4}" for index in range(config.examples)]
        self.offsets = np.linspace(-1, 1, config.examples, dtype=np.float32)

    def factors(self) -> tuple[str, ...]:
        return tuple(f"p{index}" for index in range(len(self.worth)))

    def evaluate(self, coalition: frozenset[str]) -> Measured:
        names = "+".join(sorted(coalition)) or "none"
        _spin(self.config.work_s)
        if self.config.log:
            with open(self.config.log, "a") as log:
                node = os.environ.get("SLURMD_NODENAME", "here")
                log.write(f"{node}/{os.getpid()} {self.worth[0]:.6f} {names}\n")
        _misbehave(self.config, "kill", names)
        if _has(self.config, "hang", names):
            time.sleep(3600)
        if _has(self.config, "error", names):
            raise RuntimeError(f"cannot do without the rest: {names}")
        on = np.array([name in coalition for name in self.factors()])
        value = float(self.worth @ on + 5 * (on[1:] & on[:-1]).sum())
        if _has(self.config, "nan", names):
            return Measured({"accuracy": float("nan"), "loss": None}, None)
        scores = np.float32(value) + self.offsets
        if _has(self.config, "short", names):
            scores = scores[:3]
        return Measured({"accuracy": value, "loss": None}, scores)

    def measure(self, points: Sequence[Point]) -> Iterator[Measured]:
        for point, measured in zip(points, super().measure(points), strict=True):
            if _has(self.config, "raise", "+".join(sorted(point["on"])) or "none"):
                raise KeyError("raised beyond a point")
            yield measured


def _has(config: GameConfig, fault: str, names: str = "") -> bool:
    path = Path(config.faults or "/nonexistent") / fault
    return path.is_file() and path.read_text() in ("", names)


def _misbehave(config: GameConfig, fault: str, names: str = "") -> None:
    if _has(config, fault, names):
        if fault == "open":
            raise InputError("the subject does not open")
        if fault == "pack":
            raise InputError("the subject cannot be packed")
        os.kill(os.getpid(), signal.SIGKILL)


def _spin(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        np.ones(64).sum()
