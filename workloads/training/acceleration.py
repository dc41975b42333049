"""Builds Accelerate's `Accelerator` for one trial, whatever trial the process ran before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["fp32", "bf16"]

_MIXED_PRECISION = {"fp32": "no", "bf16": "bf16"}


@contextmanager
def accelerated(precision: Precision) -> Iterator[Accelerator]:
    """An `Accelerator` on CUDA where there is a device, else on the CPU.

    Accelerate keeps its state in class attributes, and a second `Accelerator` in the process would
    silently take over the first one's precision: they are reset before and after the block.
    """
    import torch
    from accelerate import Accelerator

    _forget()
    accelerator = Accelerator(
        mixed_precision=_MIXED_PRECISION[precision], cpu=not torch.cuda.is_available()
    )
    try:
        yield accelerator
    finally:
        if accelerator.device.type == "cuda":
            accelerator.free_memory()
        _forget()


def _forget() -> None:
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
