"""The fast Walsh–Hadamard transform beside a dense product, scipy's DCT and a copy of its bytes.

It is at least 5 times as fast as the dense product at n = 4096, and each of its passes over the
rows takes at most twice as long as copying them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from scipy.fft import dct
from scipy.linalg import hadamard

from tests.benchmarks.measuring import tell
from workloads.dtdr.codec.cosine import dct2
from workloads.dtdr.codec.hadamard import passes, walsh_hadamard, walsh_hadamard_

N = 4096
ROWS = 2048
ROUNDS = 7
LEAST_OVER_DENSE = 5.0
MOST_COPIES_A_PASS = 2.0


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def in_turn(
    runs: Mapping[str, Callable[[], object]],
    clock: Callable[[], float],
    wait: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each, A B C A B C …; a first round that warms up is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for counted in range(-1, ROUNDS):
        for name, run in runs.items():
            wait()
            start = clock()
            run()
            wait()
            if counted >= 0:
                taken[name].append(clock() - start)
    return taken


def ratio(taken: Mapping[str, list[float]], above: str, below: str) -> float:
    """Median over the rounds."""
    pairs = zip(taken[above], taken[below], strict=True)
    return statistics.median(over / under for over, under in pairs)


def butterfly(x: torch.Tensor) -> torch.Tensor:
    """One pass for each power of two, in plain torch."""
    h = 1
    while h < x.shape[-1]:
        pairs = x.view(len(x), -1, 2, h)
        x = torch.stack((pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]), 2)
        x = x.view(len(x), -1)
        h *= 2
    return x / x.shape[-1] ** 0.5


def dense_matrix() -> torch.Tensor:
    return torch.from_numpy((hadamard(N) / N**0.5).astype("float32"))


def test_on_a_cpu(one_thread: None) -> None:
    rows = torch.randn(ROWS, N)
    place, target, dense = rows.clone(), torch.empty_like(rows), dense_matrix()
    numbers = rows.numpy()
    overwritten = numbers.copy()
    torch.testing.assert_close(walsh_hadamard(rows), rows @ dense, rtol=0, atol=1e-4)
    torch.testing.assert_close(butterfly(rows), rows @ dense, rtol=0, atol=1e-4)
    taken = in_turn(
        {
            "copy": lambda: target.copy_(rows),
            "copy to fresh memory": lambda: rows.clone(),
            "dense product": lambda: torch.mm(rows, dense, out=target),
            "scipy.fft.dct": lambda: dct(numbers, norm="ortho"),
            "scipy.fft.dct in place": lambda: dct(overwritten, norm="ortho", overwrite_x=True),
            "torch butterfly": lambda: butterfly(rows),
            "our DCT": lambda: dct2(rows),
            "ours": lambda: walsh_hadamard(rows),
            "ours in place": lambda: walsh_hadamard_(place),
        },
        clock=time.thread_time,  # one thread each, on a machine that others use too
    )
    over_dense = ratio(taken, "dense product", "ours")
    copies = ratio(taken, "ours in place", "copy")
    tell(
        "hadamard_cpu",
        {
            "rows": ROWS,
            "n": N,
            "threads": 1,
            "median_ms": {name: 1e3 * statistics.median(runs) for name, runs in taken.items()},
            "times_as_fast_as_dense": over_dense,
            "times_as_fast_as_scipy_dct": ratio(taken, "scipy.fft.dct", "ours"),
            "times_as_fast_as_scipy_dct_in_place": ratio(
                taken, "scipy.fft.dct in place", "ours in place"
            ),
            "times_as_fast_as_torch_butterfly": ratio(taken, "torch butterfly", "ours"),
            "our_dct_over_scipy_dct": ratio(taken, "our DCT", "scipy.fft.dct"),
            "passes": passes(N),
            "copies_in_place": copies,
            "copies_a_pass": copies / passes(N),
        },
    )
    assert over_dense >= LEAST_OVER_DENSE
    assert copies / passes(N) <= MOST_COPIES_A_PASS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu() -> None:
    rows = torch.randn(16 * ROWS, N, device="cuda")
    place, target, dense = rows.clone(), torch.empty_like(rows), dense_matrix().cuda()
    torch.testing.assert_close(walsh_hadamard(rows), rows @ dense, rtol=0, atol=1e-4)
    taken = in_turn(
        {
            "copy": lambda: target.copy_(rows),
            "dense product": lambda: torch.mm(rows, dense, out=target),
            "torch butterfly": lambda: butterfly(rows),
            "ours": lambda: walsh_hadamard(rows),
            "ours in place": lambda: walsh_hadamard_(place),
        },
        clock=time.perf_counter,
        wait=torch.cuda.synchronize,
    )
    over_butterfly = ratio(taken, "torch butterfly", "ours")
    tell(
        "hadamard_gpu",
        {
            "gpu": torch.cuda.get_device_name(),
            "rows": len(rows),
            "n": N,
            "median_ms": {name: 1e3 * statistics.median(runs) for name, runs in taken.items()},
            "times_as_fast_as_dense": ratio(taken, "dense product", "ours"),
            "times_as_fast_as_torch_butterfly": over_butterfly,
            "copies_in_place": ratio(taken, "ours in place", "copy"),
            "passes": passes(N),
        },
    )
    assert over_butterfly > 1
