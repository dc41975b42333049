"""Saves and restores a trial's training state, so that a killed trial continues bit for bit.

Weights are safetensors, optimizer and scheduler Accelerate's own files, and progress (which epoch,
which batch, running sums) is JSON. Random numbers need no place: streams are keyed by step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workloads.contract import Checkpoints

PROGRESS = "progress.json"


def save(
    accelerator: Accelerator, checkpoints: Checkpoints, step: int, progress: Mapping[str, Any]
) -> None:
    """Makes a checkpoint after training step `step`; all ranks call it, rank 0 writes.

    Ranks hold the same weights and optimizer state (data parallel), so rank 0's are enough.
    """
    if accelerator.is_main_process:
        with checkpoints.saving(step) as folder:
            accelerator.save_state(str(folder), safe_serialization=True)
            (folder / PROGRESS).write_text(json.dumps(dict(progress), allow_nan=False))
    accelerator.wait_for_everyone()


def restore(accelerator: Accelerator, checkpoints: Checkpoints) -> dict[str, Any] | None:
    """Loads the newest checkpoint into what the accelerator prepared; its progress, or None.

    The progress has the key `step`, the training step after which it was saved.
    """
    checkpoint = checkpoints.latest()
    if checkpoint is None:
        return None
    accelerator.load_state(str(checkpoint.path))
    progress = json.loads((checkpoint.path / PROGRESS).read_text())
    return {**progress, "step": checkpoint.step}
