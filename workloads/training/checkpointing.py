"""Saves and restores a trial's training state, so that a killed trial continues bit for bit.

Weights are safetensors, optimizer and scheduler Accelerate's own files, and progress (which epoch,
which batch, running sums) is JSON. Random numbers need no place: streams are keyed by step. Nothing
in it tells how many ranks made it: any number of ranks goes on from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from workloads.contract import Checkpoints

PROGRESS = "progress.json"
ASK_EVERY_STEPS = 5
"""Several ranks agree on whether a checkpoint is wanted only so often: that takes a message."""


class KeptBeside(Protocol):
    """What goes on from files of its own in a checkpoint, such as `Monitoring`."""

    def save(self, folder: Path) -> None:
        """Writes its files into the checkpoint's folder."""

    def load(self, folder: Path) -> None:
        """Goes on from what `save` wrote."""


def wanted(accelerator: Accelerator, checkpoints: Checkpoints, step: int) -> bool:
    """Whether the trial is to be saved after training step `step` since it is about to be stopped.

    All ranks call it after every step, and get rank 0's word.
    """
    if accelerator.num_processes == 1:
        return checkpoints.wanted()
    if step % ASK_EVERY_STEPS:
        return False
    import torch
    from accelerate.utils import broadcast

    word = torch.tensor([accelerator.is_main_process and checkpoints.wanted()], dtype=torch.int32)
    return bool(broadcast(word.to(accelerator.device)).item())


def save(
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    step: int,
    progress: Mapping[str, Any],
    monitoring: KeptBeside | None = None,
) -> None:
    """Makes a checkpoint after training step `step`; all ranks call it, rank 0 writes.

    Ranks hold the same weights and optimizer state (data parallel), so rank 0's are enough. What
    `monitoring` goes on from is kept beside them.
    """
    if accelerator.is_main_process:
        with checkpoints.saving(step) as folder, _unwrapped(accelerator):
            accelerator.save_state(str(folder), safe_serialization=True)
            (folder / PROGRESS).write_text(json.dumps(dict(progress), allow_nan=False))
            if monitoring is not None:
                monitoring.save(folder)
    accelerator.wait_for_everyone()


def restore(
    accelerator: Accelerator, checkpoints: Checkpoints, monitoring: KeptBeside | None = None
) -> dict[str, Any] | None:
    """Loads the newest checkpoint into what the accelerator prepared; its progress, or None.

    The progress has the key `step`, the training step after which it was saved.
    """
    checkpoint = checkpoints.latest()
    if checkpoint is None:
        return None
    with _unwrapped(accelerator):
        accelerator.load_state(str(checkpoint.path))
    if monitoring is not None:
        monitoring.load(checkpoint.path)
    progress = json.loads((checkpoint.path / PROGRESS).read_text())
    return {**progress, "step": checkpoint.step}


@contextmanager
def _unwrapped(accelerator: Accelerator) -> Iterator[None]:
    """Within the block, weights are saved and loaded under the model's own names.

    Data parallelism wraps a model and so renames its weights, which one process does not.
    """

    def saving(models: list[Any], weights: list[Any], folder: str) -> None:
        weights[:] = [accelerator.get_state_dict(accelerator.unwrap_model(one)) for one in models]

    def loading(models: list[Any], folder: str) -> None:
        models[:] = [accelerator.unwrap_model(one) for one in models]

    hooks = (
        accelerator.register_save_state_pre_hook(saving),
        accelerator.register_load_state_pre_hook(loading),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
