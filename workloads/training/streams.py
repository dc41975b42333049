"""Random streams keyed by (seed, component name), so that an absent component consumes nothing.

Two configurations that differ in one component draw the same numbers everywhere else: the arm with
LoRA and the arm without start from the same adapter and see the same batches and dropout masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, name: str) -> int:
    """The seed, in [0, 2^63), of the stream `name` of a replicate.

    >>> stream_seed(0, "adapter") == stream_seed(0, "adapter")
    True
    >>> stream_seed(0, "adapter") == stream_seed(0, "lora")
    False
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator at the start of the stream `name`."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, name))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Within the block torch's global generators are at the start of the stream `name`.

    For what takes no generator of its own: initialisation and dropout. The states from before are
    put back at the end, on the CPU and on the current CUDA device where CUDA is in use.
    """
    import torch

    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cpu_state = torch.get_rng_state()
    cuda_state = torch.cuda.get_rng_state() if cuda else None
    value = stream_seed(seed, name)
    if torch.accelerator.is_available():
        torch.manual_seed(value)
    else:  # the same, without the half millisecond in which it notes its caller for each device
        torch.default_generator.manual_seed(value)
    try:
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state)
