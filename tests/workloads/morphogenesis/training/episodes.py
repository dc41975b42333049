"""Small episodes for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from telemetry.contracts import FactoredAction
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.episode import Episode
from workloads.morphogenesis.view import Decision
from workloads.recording import RecordingEmitter
from workloads.training.acceleration import accelerated
from workloads.training.process import deterministic_process

SMALL: dict[str, Any] = {
    "samples": 96,
    "eval_samples": 60,
    "eval_batch_size": 25,
    "batch_size": 32,
    "channels": 4,
    "training_share": 0.01,
    "blend_epochs": 2,
    "epochs": 8,
    "gates": "observe",
    "slots": {"early": {}, "mid": {}, "late": {}},
}
WAIT = Decision(FactoredAction("WAIT"))


def plant(slot: str, blueprint: str = "conv_light", blend: str = "sigmoid") -> Decision:
    return Decision(FactoredAction("GERMINATE", slot, blueprint, blend))


def on(op: str, slot: str) -> Decision:
    return Decision(FactoredAction(op, slot))


class Watching:
    """What an episode needs of a trial's context."""

    def __init__(self) -> None:
        self.emitter = RecordingEmitter()


@contextmanager
def episode(*, seed: int = 0, watched: bool = True, **fields: Any) -> Iterator[Episode]:
    """A fresh small episode in a process set up for it."""
    config = MorphogenesisConfig.model_validate({**SMALL, **fields})
    with deterministic_process(1), accelerated("fp32") as accelerator:
        made = Episode(config, Watching() if watched else None, accelerator, seed)
        try:
            yield made
        finally:
            made.close()
