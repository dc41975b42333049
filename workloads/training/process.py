"""A process set up so that the same trial gives the same numbers, and left as it was found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_process(threads: int) -> Iterator[None]:
    """Within the block torch has `threads` CPU threads per operation and deterministic algorithms.

    cuBLAS reads its workspace setting when CUDA starts, so it is set here once and stays.
    Settings of torch from before the block are put back, for a reused worker.
    """
    os.environ.setdefault(_CUBLAS, ":4096:8")
    import torch

    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    benchmark_before = torch.backends.cudnn.benchmark
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)
        torch.backends.cudnn.benchmark = benchmark_before
