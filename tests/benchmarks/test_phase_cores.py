"""The cores' fast forms against the plain ones, in one process each: time in turn, peak memory.

The low-rank coupling of a phase block against the sum over all pairs of channels, and the compiled
loop of Kuramoto oscillators over tokens against the same loop in torch.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from tests.benchmarks.measuring import tell
from tests.conftest import ROOT
from tests.orchestrator.quick_study import environment
from workloads.phase_coupling.config import PhaseBlockSettings
from workloads.phase_coupling.cores.dynamics import follow, follow_in_torch
from workloads.phase_coupling.cores.phase_block import PhaseBlockCore
from workloads.phase_coupling.cores.reference import dense_pull
from workloads.training.process import deterministic_process

WIDTHS, TOKENS, RANK = (512, 2048), 8, 16
PAIRS = 9
TOLERANCE = 1e-5
LEAST_SPEEDUP, MOST_MEMORY = 10, 0.1
_PEAK = """
import torch
torch.set_num_threads(1)
from workloads.phase_coupling.config import PhaseBlockSettings
from workloads.phase_coupling.cores.phase_block import PhaseBlockCore
from workloads.phase_coupling.cores.reference import dense_pull
with torch.no_grad():
    core = PhaseBlockCore(PhaseBlockSettings(rank={rank}), {width})
    core.init(torch.Generator().manual_seed(0))
    theta = torch.randn({tokens}, {width})
    {way}
# What is inherited from whoever started the process is not in it, as it is in ru_maxrss.
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
_WAYS = {
    "neither": "pass",
    "low rank": "core.pull(theta)",
    "dense": "dense_pull(theta, core.coupling * core.U @ core.V.T)",
}


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread, in which all of it runs: others do not count."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def in_turn(fast: Callable[[], object], plain: Callable[[], object]) -> tuple[float, float, float]:
    """Median seconds of both, and the median of how many times as long the plain one takes."""
    fast(), plain()
    pairs = [(seconds(fast), seconds(plain)) for _ in range(PAIRS)]
    ones, others = zip(*pairs, strict=True)
    ratio = statistics.median(other / one for one, other in pairs)
    return statistics.median(ones), statistics.median(others), ratio


def peak_bytes(width: int, way: str) -> int:
    """The most memory that a process had which did this."""
    code = _PEAK.format(rank=RANK, width=width, tokens=TOKENS, way=_WAYS[way])
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stdout)


def test_the_low_rank_coupling_is_faster_and_smaller_than_the_sum_over_pairs() -> None:
    figures: dict[str, dict[str, float]] = {}
    with deterministic_process(1), torch.no_grad():
        for width in WIDTHS:
            core = PhaseBlockCore(PhaseBlockSettings(rank=RANK), width)
            core.init(torch.Generator().manual_seed(0))
            theta = torch.randn(TOKENS, width, generator=torch.Generator().manual_seed(1))
            matrix = core.coupling * core.U @ core.V.T
            fast, plain, ratio = in_turn(
                lambda core=core, theta=theta: core.pull(theta),  # type: ignore[misc]
                lambda matrix=matrix, theta=theta: dense_pull(theta, matrix),  # type: ignore[misc]
            )
            apart = float((core.pull(theta) - dense_pull(theta, matrix)).abs().max())
            neither, low_rank, dense = (peak_bytes(width, way) for way in _WAYS)
            figures[f"D={width}"] = {
                "low_rank_ms": 1000 * fast,
                "dense_ms": 1000 * plain,
                "dense_over_low_rank": ratio,
                "low_rank_extra_mib": (low_rank - neither) / 2**20,
                "dense_extra_mib": (dense - neither) / 2**20,
                "largest_difference": apart,
            }
    tell("phase_block_coupling", {"tokens": TOKENS, "rank": RANK, **figures})
    for found in figures.values():
        assert found["largest_difference"] <= TOLERANCE
        assert found["dense_over_low_rank"] >= LEAST_SPEEDUP
        assert found["low_rank_extra_mib"] <= max(MOST_MEMORY * found["dense_extra_mib"], 4)


def test_the_compiled_loop_over_tokens_is_faster_than_the_one_in_torch() -> None:
    batch, tokens, number = 8, 128, 16
    drawn = torch.Generator().manual_seed(0)
    push = 0.3 * torch.randn(batch, tokens, number, generator=drawn, dtype=torch.float64)
    phases = torch.zeros(batch, number, dtype=torch.float64)
    omega = 0.01 * torch.randn(number, generator=drawn, dtype=torch.float64)

    def read(way: Callable[..., torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return way(push, phases, omega, 2.0, 0.1)

    def learn(way: Callable[..., torch.Tensor]) -> None:
        way(push.clone().requires_grad_(), phases, omega, 2.0, 0.1).sin().sum().backward()

    with deterministic_process(1):
        reading = in_turn(lambda: read(follow), lambda: read(follow_in_torch))
        learning = in_turn(lambda: learn(follow), lambda: learn(follow_in_torch))
        apart = float((read(follow) - read(follow_in_torch)).abs().max())
    tell(
        "kuramoto_loop",
        {
            "texts": batch,
            "tokens": tokens,
            "oscillators": number,
            **{
                f"{name}_{figure}": value
                for name, found in (("reading", reading), ("with_gradient", learning))
                for figure, value in zip(
                    ("compiled_s", "torch_s", "torch_over_compiled"), found, strict=True
                )
            },
            "largest_difference": apart,
        },
    )
    assert apart <= 1e-6
    assert reading[2] >= 3
    assert learning[2] >= 3
