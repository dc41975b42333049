"""Ranks that look at a network together see what one process sees, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.workloads.morphogenesis.training.episodes import WAIT, episode, plant
from workloads.morphogenesis.checkpoints import read_episode, write_episode
from workloads.spawning import in_ranks


def seen(folder: Path, rank: int = 0, ranks: int = 1) -> tuple[int, list[Any]]:
    """How many processes look, and what they see of the network in a folder: all of the validation
    split (three batches, the last one smaller), then the first batch of it alone."""
    told, processes = [], 0
    for examples in (None, 20):
        with episode(matrix_examples=examples) as made:
            read_episode(folder, made)
            measured = made._measure("full")
            processes = made._accelerator.num_processes
            told.append(
                (
                    measured.accuracy,
                    measured.loss,
                    dict(measured.contributions),
                    msgspec.to_builtins(measured.matrix),
                )
            )
    return processes, told


@pytest.mark.slow
def test_two_ranks_see_the_matrix_that_one_process_sees(tmp_path: Path) -> None:
    with episode() as made:
        made.step(plant("early"))
        made.step(plant("late", "depthwise"))
        while made.host.slots["late"].alpha < 1:
            made.step(WAIT)
        write_episode(tmp_path, made, {})
    alone = seen(tmp_path)
    assert alone[0] == 1
    assert len(alone[1][0][3]["configs"]) == 4
    assert len({cell["val_loss"] for cell in alone[1][0][3]["configs"]}) == 4
    both = in_ranks(seen, tmp_path, ranks=2)
    assert both == [(2, alone[1])] * 2
