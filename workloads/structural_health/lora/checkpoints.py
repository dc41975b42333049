"""A trial's checkpoint: LoRA, the optimizer, the window and the series, and no frozen weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ADAPTER, OPTIMIZER, HEALTH = "adapter.safetensors", "optimizer.safetensors", "health.safetensors"
PROGRESS = "progress.json"


def write_checkpoint(
    folder: Path,
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer | None,
    health: Mapping[str, torch.Tensor],
    progress: Mapping[str, Any],
) -> None:
    """Writes into a folder; tensors as safetensors, which never run code when they are read."""
    save_file({name: p.detach().contiguous() for name, p in trained.items()}, folder / ADAPTER)
    state = optimizer.state_dict()["state"] if optimizer is not None else {}
    moments = {f"{i}/{name}": t for i, one in state.items() for name, t in one.items()}
    save_file(moments, folder / OPTIMIZER)
    save_file({name: t.contiguous() for name, t in health.items()}, folder / HEALTH)
    (folder / PROGRESS).write_text(json.dumps(dict(progress), allow_nan=False))


def read_checkpoint(
    folder: Path,
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer | None,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Loads LoRA and optimizer in place; gives the window's tensors and the progress."""
    saved = load_file(folder / ADAPTER)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
    if optimizer is not None:
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(folder / OPTIMIZER).items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    progress = json.loads((folder / PROGRESS).read_text())
    return load_file(folder / HEALTH), progress
