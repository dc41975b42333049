"""What a cluster is to the orchestrator: a Ray to start trials on, entered and left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cluster.slurm.settings import SlurmSettings


class ClusterError(RuntimeError):
    """The cluster cannot be had: one line of what was tried and what to do."""


@dataclass(frozen=True)
class TrialSize:
    """What one trial takes: so many ranks, each of that size, which has to fit on one node."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gib: float = 0.0
    """0 reserves nothing."""
    ranks: int = 1


@dataclass(frozen=True)
class NodeSize:
    """What one node offers."""

    cpus: float
    gpus: float = 0.0
    memory_gib: float = float("inf")

    def fits(self, size: TrialSize) -> int:
        """How many ranks of that size run on it at once."""
        by_cpu = self.cpus / size.cpus if size.cpus else float("inf")
        by_gpu = self.gpus / size.gpus if size.gpus else float("inf")
        by_memory = self.memory_gib / size.memory_gib if size.memory_gib else float("inf")
        return int(min(by_cpu, by_gpu, by_memory) + 1e-9)


@dataclass(frozen=True)
class Resources:
    """What a cluster offers, node by node. Where nodes come and go: what it offers when all are
    there, so that trials wait for room rather than room for trials."""

    nodes: tuple[NodeSize, ...]

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    @property
    def memory_gib(self) -> float:
        return sum(node.memory_gib for node in self.nodes)

    def fits(self, size: TrialSize) -> int:
        """How many trials run at once. Ranks of one trial may lie on several nodes."""
        return sum(node.fits(size) for node in self.nodes) // size.ranks


@dataclass(frozen=True)
class ClusterRequest:
    """What a driver asks a cluster for."""

    study: str
    """The study's instance: jobs and folders are named after it."""
    home: Path
    """The ORRERY_HOME, absolute: every node has to see it."""
    folder: Path
    """The study's folder in the home: job records, logs and scripts go below it."""
    trial: TrialSize = TrialSize()
    trials: int = 1
    """How many trials are to be run."""
    max_concurrent: int | None = None
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    tell: Callable[[str], None] = print
    """Takes one line of news for the user: a job waits, a node has come or gone."""


class Cluster(AbstractContextManager[Resources], Protocol):
    """Entering connects this process to Ray and tells what there is; leaving lets go of it.

    Entering raises `ClusterError`, with nothing left behind; so does an interrupt. A cluster that
    can run nothing more interrupts the main thread, and raises `ClusterError` when it is left.
    """

    name: str

    def need(self, trials: int) -> None:
        """Told whenever it changes how many trials have not ended: a cluster that grows and
        shrinks asks for no more nodes than they fill, and lets idle ones go. Returns at once."""
