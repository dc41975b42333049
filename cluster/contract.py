"""What a cluster is to the orchestrator: a Ray to start trials on, entered and left."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class ClusterError(RuntimeError):
    """The cluster cannot be had: one line of what was tried and what to do."""


@dataclass(frozen=True)
class Resources:
    """What a cluster offers in all."""

    cpus: float
    gpus: float
    memory_gib: float = float("inf")

    def fits(self, cpus: float, gpus: float, memory_gib: float = 0.0, ranks: int = 1) -> int:
        """How many trials run at once, each of `ranks` processes of that size."""
        by_memory = self.memory_gib / memory_gib if memory_gib else float("inf")
        by_cpu = self.cpus / cpus if cpus else float("inf")
        by_gpu = self.gpus / gpus if gpus else float("inf")
        return int(min(by_cpu, by_gpu, by_memory)) // ranks


class Cluster(AbstractContextManager[Resources], Protocol):
    """Entering connects this process to Ray and tells what there is; leaving lets go of it."""

    name: str
