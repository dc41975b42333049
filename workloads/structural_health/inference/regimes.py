"""The four ways of going on from chunk to chunk. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workloads.structural_health.inference_config import InferenceConfig, RegimeName


@dataclass(frozen=True)
class Regime:
    """How a run goes on from one chunk to the next.

    Attributes:
        tag: the letter of its log lines.
        steps, chunk_tokens: how many chunks it has, and how long they are.
        appends: whether the next chunk follows what was written; else the prompt is read anew.
        sampled: whether tokens are drawn; else the likeliest is taken.
        prompts: how many there are, taken in turn.
        compares: whether a chunk is compared with the one before; else each stands alone.
    """

    title: str
    tag: str
    steps: int
    chunk_tokens: int
    appends: bool = True
    sampled: bool = False
    prompts: int = 1
    compares: bool = True


REGIMES: Final[Mapping[RegimeName, Regime]] = {
    "healthy": Regime("healthy", "H", 6, 10, appends=False, compares=False),
    "lock_in": Regime("lock-in", "L", 15, 8),
    "decoupled": Regime("decoupled", "D", 20, 16, appends=False, sampled=True, prompts=2),
    "geodesic": Regime("geodesic", "G", 20, 16),
}


def with_sizes(config: InferenceConfig) -> InferenceConfig:
    """The configuration with the regime's sizes where it names none of its own."""
    regime = REGIMES[config.regime]
    return config.model_copy(
        update={
            "steps": config.steps or regime.steps,
            "chunk_tokens": config.chunk_tokens or regime.chunk_tokens,
        }
    )
