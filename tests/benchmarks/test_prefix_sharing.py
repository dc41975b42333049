"""Prefix sharing against running every coalition by itself: same process, same model and batches.

The model has n slots at equal distances, of equal cost. The two are run in turn, and the ratio is
the median of the pairs', by the clock or, on a busy machine, by CPU time. What is alive is counted
where segments give it away.
"""

from __future__ import annotations

import os
import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.benchmarks.measuring import RECORD, tell
from workloads.switching import (
    Coalition,
    CoalitionScores,
    Segment,
    all_coalitions,
    evaluate_coalitions,
    evaluate_naively,
    segment_passes,
    undisturbed,
)
from workloads.training.process import deterministic_process

WIDTH, BATCH = 288, 128
"""Where the ratio is held against a limit: a slot costs a few times what scoring does."""
NARROW, FEW = 128, 64
"""Where cost is plotted up to n = 16."""
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
NAIVE_UP_TO = 12
Scores = list[CoalitionScores]
Batches = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Slotted:
    """A slot with its seed, blended in by 0.6, then the host's layer up to the next slot."""

    seed: nn.Module
    host: nn.Module
    factors: tuple[int, ...]

    def run(self, x: torch.Tensor, on: Coalition) -> torch.Tensor:
        if on and on[0]:
            x = torch.lerp(x, self.seed(x), 0.6)
        y: torch.Tensor = self.host(x)
        return y


class Host(nn.Module):
    """n + 1 segments of equal cost; the last one ends in 10 classes."""

    def __init__(self, slots: int, width: int = WIDTH) -> None:
        super().__init__()
        torch.manual_seed(slots)
        self.hosts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(slots + 1)
        )
        self.seeds = nn.ModuleList(nn.Linear(width, width) for _ in range(slots))
        self.head = nn.Linear(width, 10)

    def segments(self) -> list[Segment]:
        first: list[Segment] = [Slotted(nn.Identity(), self.hosts[0], ())]
        return first + [
            Slotted(seed, host, (index,))
            for index, (seed, host) in enumerate(zip(self.seeds, self.hosts[1:], strict=True))
        ]

    def score(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.head(x)
        right = 100.0 * (logits.argmax(-1) == labels).float()
        return right, nn.functional.cross_entropy(logits, labels, reduction="none")


def one_batch(size: int = BATCH, width: int = WIDTH) -> Batches:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(size, width, generator=drawn)
    return [(x, torch.randint(0, 10, (size,), generator=drawn))]


class Tracked:
    """A segment whose outputs are counted while they are alive."""

    def __init__(self, segment: Segment, alive: weakref.WeakSet[Any], peaks: list[int]) -> None:
        self._segment, self.factors = segment, segment.factors
        self._alive, self._peaks = alive, peaks

    def run(self, x: Any, on: Coalition) -> Any:
        self._peaks[0] = max(self._peaks[0], len(self._alive))
        y = self._segment.run(x, on)
        self._alive.add(y)
        return y


def kept_at_most(slots: int) -> int:
    """The most activations that are alive between two passes, for all 2^n coalitions."""
    host, peaks = Host(slots, width=4), [0]
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    segments = [Tracked(each, alive, peaks) for each in host.segments()]
    with undisturbed(host):
        evaluate_coalitions(segments, all_coalitions(slots), one_batch(2, 4), host.score)
    return peaks[0]


@dataclass(frozen=True)
class Took:
    """Seconds by the clock and of CPU time."""

    wall_s: float
    cpu_s: float


Evaluate = Callable[..., Scores]


def timed(evaluate: Evaluate, host: Host, batches: Batches) -> tuple[Took, Scores]:
    segments, asked = host.segments(), all_coalitions(len(host.seeds))
    with undisturbed(host):
        start, cpu = time.perf_counter(), time.process_time()
        found = evaluate(segments, asked, batches, host.score)
        return Took(time.perf_counter() - start, time.process_time() - cpu), found


def same_bits(one: Scores, other: Scores) -> bool:
    def bits(found: Scores) -> list[tuple[bytes, bytes]]:
        return [
            (each.scores.tobytes(), each.losses.tobytes())
            for each in found
            if each.scores is not None and each.losses is not None
        ]

    return len(bits(one)) == len(one) and bits(one) == bits(other)


@pytest.mark.parametrize(("slots", "least", "pairs"), [(8, 3.5, 7), (12, 5.0, 3)])
def test_prefix_sharing_is_several_times_faster_and_bit_equal(
    slots: int, least: float, pairs: int
) -> None:
    asked = all_coalitions(slots)
    with deterministic_process(1):
        host, batches = Host(slots), one_batch()
        timed(evaluate_coalitions, Host(4), batches)
        times: list[tuple[Took, Took]] = []
        equal = True
        for _ in range(pairs):
            alone, naive = timed(evaluate_naively, host, batches)
            together, shared = timed(evaluate_coalitions, host, batches)
            times.append((alone, together))
            equal = equal and same_bits(naive, shared)
        kept = kept_at_most(slots)
    by_clock = [alone.wall_s / together.wall_s for alone, together in times]
    by_cpu = [alone.cpu_s / together.cpu_s for alone, together in times]
    segments = host.segments()
    tell(
        f"prefix-sharing-{slots}",
        {
            "slots": slots,
            "coalitions": len(asked),
            "times_faster": statistics.median(by_clock),
            "times_less_cpu": statistics.median(by_cpu),
            "pairs": by_clock,
            "pairs_cpu": by_cpu,
            "naive_cpu_s": statistics.median(alone.cpu_s for alone, _ in times),
            "shared_cpu_s": statistics.median(together.cpu_s for _, together in times),
            "naive_passes": len(asked) * len(segments),
            "shared_passes": segment_passes(segments, asked),
            "bit_equal": equal,
            "activations_kept": kept,
            "limit_times_faster": least,
            "limit_activations": slots + 1,
        },
    )
    assert equal
    assert kept <= slots + 1
    assert max(statistics.median(by_clock), statistics.median(by_cpu)) >= least


def test_cost_by_number_of_slots() -> None:
    """CPU time, passes and memory for all 2^n coalitions."""
    rows = []
    with deterministic_process(1):
        for slots in range(4, 17, 2):
            host, batches = Host(slots, NARROW), one_batch(FEW, NARROW)
            segments, asked = host.segments(), all_coalitions(slots)
            alone = timed(evaluate_naively, host, batches)[0] if slots <= NAIVE_UP_TO else None
            together, found = timed(evaluate_coalitions, host, batches)
            kept = kept_at_most(slots)
            assert kept <= slots + 1
            rows.append(
                {
                    "slots": slots,
                    "points": len(found),
                    "naive_cpu_s": alone and alone.cpu_s,
                    "shared_cpu_s": together.cpu_s,
                    "naive_passes": len(asked) * len(segments),
                    "shared_passes": segment_passes(segments, asked),
                    "activations_kept": kept,
                    "activations_mib": kept * FEW * NARROW * 4 / 2**20,
                    "results_mib": len(found) * FEW * 8 / 2**20,
                }
            )
    tell("prefix-sharing-cost", {"examples": FEW, "width": NARROW, "by_slots": rows})
    if os.environ.get(RECORD) == "1":
        draw(rows, PICTURES / "prefix-sharing-cost.png")
    assert [row["shared_passes"] for row in rows] == [2 ** (n + 1) - 1 for n in range(4, 17, 2)]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Time, passes and memory against the number of slots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    time_axis, pass_axis, memory_axis = figure.subplots(1, 3)
    slots = [row["slots"] for row in rows]
    naive = [row for row in rows if row["naive_cpu_s"] is not None]
    time_axis.plot(
        [r["slots"] for r in naive], [r["naive_cpu_s"] for r in naive], "o--", label="naive"
    )
    time_axis.plot(slots, [row["shared_cpu_s"] for row in rows], "o-", label="prefix sharing")
    time_axis.set(yscale="log", ylabel="CPU seconds", title="Time for all points")
    pass_axis.plot(slots, [row["naive_passes"] for row in rows], "o--", label="naive")
    pass_axis.plot(slots, [row["shared_passes"] for row in rows], "o-", label="prefix sharing")
    pass_axis.plot(slots, [row["points"] for row in rows], "k:", label="points")
    pass_axis.set(yscale="log", ylabel="passes of a segment", title="Points and passes")
    memory_axis.plot(slots, [r["activations_mib"] for r in rows], "o-", label="activations kept")
    memory_axis.plot(slots, [r["results_mib"] for r in rows], "s:", label="scores and losses")
    memory_axis.set(yscale="log", ylabel="MiB", title=f"Memory ({FEW} examples)")
    for axis in (time_axis, pass_axis, memory_axis):
        axis.set_xlabel("switches n")
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
