"""A SLURM that does not answer is told of, once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cluster.slurm.commands import Slurm
from cluster.slurm.queue import JobView, look
from cluster.slurm.silence import Silence
from tests.cluster.stand_in.controller import SlurmStandIn

AWAY = "Unable to contact slurm controller"


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def silent(slurm: Slurm, slurm_stand_in: SlurmStandIn) -> list[JobView]:
    slurm_stand_in.failing["squeue"] = f"squeue: error: {AWAY}"
    return list(look(slurm, ["1"]).values())


def test_a_long_silence_is_told_once_and_its_end_too(silent: list[JobView]) -> None:
    told: list[str] = []
    clock = Clock()
    silence = Silence(told.append, clock)
    for clock.now_s in (0.0, 59.0):
        silence.looked(silent)
    assert told == []
    for clock.now_s in (60.0, 75.0, 300.0):
        silence.looked(silent)
    assert told == [f"SLURM does not answer: squeue: {AWAY}; waiting"]
    silence.looked([])
    assert len(told) == 1
    silence.looked([JobView("1", "queued")])
    assert told[1:] == ["SLURM answers again"]


def test_a_short_silence_is_nobodys_concern(silent: list[JobView]) -> None:
    told: list[str] = []
    clock = Clock()
    silence = Silence(told.append, clock)
    for clock.now_s in (0.0, 50.0):
        silence.looked(silent)
        silence.looked([JobView("1", "running")])
    clock.now_s = 100.0
    silence.looked(silent)
    assert told == []
