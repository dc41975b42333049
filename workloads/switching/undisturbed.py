"""Looking at a model without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Within the block evaluation mode and no gradients; then modes and random streams as before.

    Raises RuntimeError, naming it, if a parameter or buffer was written to all the same: evaluation
    mode keeps running statistics still, but not what a module writes by itself.
    """
    import torch

    modes = {each: each.training for each in module.modules()}
    before = _versions(module)
    gpus = sorted({p.device.index or 0 for p in module.parameters() if p.is_cuda})
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=gpus):
            yield
    finally:
        for each, training in modes.items():
            each.training = training
    after = _versions(module)
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if changed:
        raise RuntimeError(
            f"{', '.join(changed)} changed while coalitions were evaluated; a segment must not "
            "write to the model"
        )


def _versions(module: nn.Module) -> dict[str, tuple[int, int]]:
    """By name, where each parameter and buffer lies and how often it was written to."""
    named = (*module.named_parameters(), *module.named_buffers())
    return {name: (tensor.data_ptr(), tensor._version) for name, tensor in named}
