"""Slots at each stage of their life, and one thread, so that sums keep their order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from telemetry.contracts import Stage
from workloads.morphogenesis.body.life import EpochFacts, LifeTerms
from workloads.morphogenesis.body.slot import Slot

TERMS = LifeTerms(training_epochs=5, blend_epochs=5, probation_epochs=5)
STEPS_TO = {"GERMINATED": 0, "TRAINING": 1, "BLENDING": 6, "PROBATIONARY": 11, "FOSSILIZED": 11}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Grown:
    """Brings slots to a stage by the epochs that lead there."""

    @staticmethod
    def to(
        slot: Slot, stage: Stage, blueprint: str, blend: str = "linear", epochs: int = 0
    ) -> Slot:
        """`epochs` more are spent in the stage (in BLENDING each is a step of alpha)."""
        slot.germinate(blueprint, blend, seed_stream=7, accuracy=50.0, epoch=0)
        for epoch in range(STEPS_TO[stage] + epochs):
            slot.end_epoch(EpochFacts(epoch, 51.0, 2.0, 1.0, enforce=False))
        if stage == "FOSSILIZED":
            slot.fossilize(2.0, healthy=True)
        assert slot.stage == stage
        return slot

    @classmethod
    def slot(
        cls, stage: Stage, blueprint: str, blend: str = "linear", epochs: int = 0, host: str = "cnn"
    ) -> Slot:
        """One of width 8 (CNN) or 24 (GPT)."""
        slot = Slot("mid", host, 8 if host == "cnn" else 24, TERMS)
        return cls.to(slot, stage, blueprint, blend, epochs)


@pytest.fixture
def grown() -> type[Grown]:
    return Grown
