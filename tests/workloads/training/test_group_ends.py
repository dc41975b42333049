"""A data-parallel model that ends while its group's thread still cleans up must not hang."""

from __future__ import annotations

import pytest

from workloads.spawning import in_ranks
from workloads.training.acceleration import accelerated

TRIALS = 60


def train_once() -> None:
    import torch

    with accelerated("fp32") as accelerator:
        layers = [torch.nn.Linear(64, 64) for _ in range(6)]
        model = accelerator.prepare(torch.nn.Sequential(*layers))
        accelerator.backward(model(torch.ones(8, 64)).sum())


def train_many(rank: int, ranks: int) -> int:
    for _ in range(TRIALS):
        train_once()
    return rank


@pytest.mark.slow
def test_many_trials_of_two_ranks_one_after_another_all_end() -> None:
    assert in_ranks(train_many, ranks=2) == [0, 1]
