"""A deterministic process, an Accelerator per trial, checkpoints, and the finite guard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from workloads.contract import Checkpoint
from workloads.training import checkpointing, is_finite
from workloads.training.acceleration import accelerated
from workloads.training.process import deterministic_process


@dataclass
class Folder:
    """Checkpoints in a folder."""

    root: Path

    def latest(self) -> Checkpoint | None:
        found = sorted(self.root.glob("step-*"))
        return Checkpoint(found[-1], int(found[-1].name[5:])) if found else None

    @contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        partial = self.root / "partial"
        partial.mkdir(parents=True)
        try:
            yield partial
            partial.rename(self.root / f"step-{step:04d}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def wanted(self) -> bool:
        return False


def test_threads_and_determinism_are_put_back() -> None:
    before = torch.get_num_threads()
    with deterministic_process(threads=1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_second_accelerator_does_not_take_over_the_firsts_precision() -> None:
    with accelerated("bf16") as first:
        assert first.mixed_precision == "bf16"
    with accelerated("fp32") as second:
        assert second.mixed_precision == "no"


def test_weights_optimizer_and_progress_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    checkpoints = Folder(tmp_path)

    def prepared(accelerator):  # type: ignore[no-untyped-def]
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 3)
        return accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 0.1))

    def step(model, optimizer) -> None:  # type: ignore[no-untyped-def]
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    with accelerated("fp32") as accelerator:
        assert checkpointing.restore(accelerator, checkpoints) is None
        model, optimizer = prepared(accelerator)
        step(model, optimizer)
        checkpointing.save(accelerator, checkpoints, 1, {"epoch": 0})
        step(model, optimizer)
        whole = model.weight.detach().clone()
    with accelerated("fp32") as accelerator:
        model, optimizer = prepared(accelerator)
        assert checkpointing.restore(accelerator, checkpoints) == {"epoch": 0, "step": 1}
        step(model, optimizer)
        assert torch.equal(model.weight, whole)
    latest = checkpoints.latest()
    assert latest is not None
    assert (latest.path / "model.safetensors").is_file()


@pytest.mark.parametrize("lost", [float("nan"), float("inf"), float("-inf")])
def test_lost_numbers_are_noticed(lost: float) -> None:
    assert is_finite({"loss": 0.0, "grad_norm": 1e30})
    assert not is_finite({"loss": 0.0, "grad_norm": lost})
