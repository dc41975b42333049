"""Small networks whose blocks can be switched off, cut into segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from workloads.switching import Coalition, Segment

Batches = list[tuple[torch.Tensor, torch.Tensor]]


class Block(nn.Module):
    """A residual block with running statistics and dropout, which evaluation must not touch."""

    def __init__(self, width: int, alpha: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.GELU(), nn.Dropout(0.5)
        )
        self.alpha = alpha

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.lerp(x, x + self.body(x), self.alpha)


@dataclass
class Plain:
    """A segment without switches."""

    module: nn.Module
    factors: tuple[int, ...] = ()

    def run(self, x: torch.Tensor, on: Coalition) -> torch.Tensor:
        y: torch.Tensor = self.module(x)
        return y


@dataclass
class Switched:
    """A block behind its switch, then `after`, which every coalition runs."""

    block: nn.Module
    after: nn.Module
    factors: tuple[int, ...]

    def run(self, x: torch.Tensor, on: Coalition) -> torch.Tensor:
        if all(on):
            x = self.block(x)
        y: torch.Tensor = self.after(x)
        return y


class Tower(nn.Module):
    """A stem, `switches` blocks, a head of 10 classes."""

    def __init__(self, switches: int, width: int = 16, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Linear(12, width)
            self.blocks = nn.ModuleList(Block(width, 0.3 + 0.05 * i) for i in range(switches))
            self.afters = nn.ModuleList(nn.Linear(width, width) for _ in range(switches))
            self.head = nn.Linear(width, 10)
            for block in self.blocks:
                block.body[1].running_mean.normal_()

    def segments(self) -> Sequence[Segment]:
        switched = [
            Switched(block, after, (index,))
            for index, (block, after) in enumerate(zip(self.blocks, self.afters, strict=True))
        ]
        return [Plain(self.stem), *switched, Plain(self.head)]


def batches(count: int = 2, size: int = 8, seed: int = 1) -> Batches:
    """Inputs [size, 12] and labels [size]; the last batch is smaller."""
    drawn = torch.Generator().manual_seed(seed)
    sizes = [size] * (count - 1) + [size - 3]
    return [
        (torch.randn(n, 12, generator=drawn), torch.randint(0, 10, (n,), generator=drawn))
        for n in sizes
    ]


def score(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Percent right and cross-entropy, by example."""
    right = 100.0 * (logits.argmax(-1) == labels).float()
    return right, nn.functional.cross_entropy(logits, labels, reduction="none")
