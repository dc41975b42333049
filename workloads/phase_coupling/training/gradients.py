"""Which parameters are trained, and their gradients: over ranks, and how large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from accelerate import Accelerator


def trained_parameters(
    model: nn.Module, core: nn.Module | None, trains: Literal["core", "all"]
) -> dict[str, nn.Parameter]:
    """What is trained, by name, with its gradients on; everything else has them off.

    Raises `ValueError` where that is nothing.
    """
    model.requires_grad_(trains == "all")
    found = {f"model.{n}": p for n, p in model.named_parameters() if trains == "all"}
    if core is not None:
        core.requires_grad_(True)
        found |= {f"core.{name}": parameter for name, parameter in core.named_parameters()}
    if not found:
        raise ValueError("there is no core, and the model is frozen: nothing can be trained")
    return found


def average(parameters: Iterable[nn.Parameter], accelerator: Accelerator) -> None:
    """Replaces each rank's gradients by the mean over ranks, in one message.

    What of a coupled model has a gradient depends on mode and site, the same on every rank. By hand
    rather than by DistributedDataParallel: that wraps a module, and here hooks join two.
    """
    if accelerator.num_processes == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.float().flatten() for gradient in gradients])
    whole = accelerator.reduce(flat, reduction="mean")
    for gradient, part in zip(
        gradients, whole.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def norm_of(parameters: Iterable[nn.Parameter]) -> float:
    """The norm of the gradients together: 0 where none arrived."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
