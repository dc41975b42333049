"""Builds Accelerate's `Accelerator` for one trial, whatever trial the process ran before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from workloads.training.rendezvous import join_group, leave_group

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["fp32", "bf16"]

_MIXED_PRECISION = {"fp32": "no", "bf16": "bf16"}


@contextmanager
def accelerated(precision: Precision) -> Iterator[Accelerator]:
    """An `Accelerator` on CUDA where there is a device, else on the CPU.

    A rank of several joins the others' process group (nccl on CUDA, gloo on the CPU), as its
    environment says, and leaves it at the end of the block. After an error it stays in it until
    its process ends: leaving would make the others fail too, with errors that hide the first.

    Accelerate keeps its state in class attributes, and a second `Accelerator` in the process would
    silently take over the first one's precision: they are reset before and after the block.
    """
    import torch
    from accelerate import Accelerator

    _forget()
    threads, cuda = torch.get_num_threads(), torch.cuda.is_available()
    join_group("nccl" if cuda else "gloo")
    accelerator = Accelerator(mixed_precision=_MIXED_PRECISION[precision], cpu=not cuda)
    if accelerator.num_processes > 1:
        torch.set_num_threads(threads)  # Accelerate sets its own for ranks on a CPU
    try:
        yield accelerator
        leave_group()
    finally:
        if accelerator.device.type == "cuda":
            accelerator.free_memory()
        _forget()


def _forget() -> None:
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
