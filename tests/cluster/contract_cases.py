"""Which clusters have to pass the contract. Run by `test_contract.py`, each in its own process."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster import Cluster, ClusterRequest, LocalCluster, Resources
from cluster.head import Head
from cluster.node import LABEL, Node, join
from cluster.ray_address import RayCluster
from cluster.slurm.pilots import SlurmCluster
from cluster.slurm.settings import SlurmSettings
from cluster.sources import Sources
from cluster.testing import ClusterContract
from tests.cluster.running_ray import RunningRay, running_ray
from tests.cluster.stand_in.controller import SlurmStandIn


def rays_here() -> set[str]:
    """Processes below this one that belong to a Ray of ours, and Ray folders of theirs."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            words, state = " ".join(process.cmdline()), process.status()
        except psutil.NoSuchProcess:  # it ended just now
            continue
        if "ray" in words and state != psutil.STATUS_ZOMBIE:
            found.add(f"{process.pid}: {words[:200]}")
            found |= {
                f"/tmp/{p.name}" for p in Path("/tmp").glob("orrery-ray-*") if p.name in words
            }
    return found


class TestLocal(ClusterContract):
    def make_cluster(self, request: ClusterRequest) -> Cluster:
        return LocalCluster(cpus=2)

    def leavings(self) -> set[str]:
        return rays_here()


class TestRay(ClusterContract):
    @pytest.fixture(scope="class")
    def theirs(self) -> Iterator[RunningRay]:
        with running_ray() as ray:
            yield ray

    @pytest.fixture(autouse=True)
    def _its_user(self, theirs: RunningRay, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address = theirs.address
        for name, value in theirs.environment.items():
            monkeypatch.setenv(name, value)

    def make_cluster(self, request: ClusterRequest) -> Cluster:
        return RayCluster(self.address, request.home)

    def leavings(self) -> set[str]:
        return {line for line in rays_here() if "ray::" not in line}  # workers are the cluster's


class HeadAndNode:
    """The least a cluster of several hosts is made of: a head, and a node that joins it."""

    name = "head and node"

    def __init__(self, request: ClusterRequest) -> None:
        self._request = request
        self._head: Head | None = None
        self._node: Node | None = None

    def __enter__(self) -> Resources:
        from cluster.local import offered_by_ray

        sources = Sources.snapshot(self._request.home)
        self._head = Head(self._request, sources)
        head = self._head.start()
        try:
            self._node = join(
                head.address,
                head.token_path,
                2,
                0,
                1.0,
                self._request.folder / "nodes",
                labels={LABEL: "1"},
                environment=sources.environment(),
            )
        except BaseException:
            self._head.stop()
            raise
        return offered_by_ray()

    def need(self, trials: int) -> None:
        pass

    def __exit__(self, *told: object) -> None:
        if self._node is not None:
            self._node.leave()
        if self._head is not None:
            self._head.stop()


class TestHeadAndNode(ClusterContract):
    def make_cluster(self, request: ClusterRequest) -> Cluster:
        return HeadAndNode(request)

    def leavings(self) -> set[str]:
        return rays_here()


class TestSlurm(ClusterContract):
    """Pilots on this host, under a stand-in for SLURM."""

    @pytest.fixture(autouse=True)
    def _its_user(self, slurm_stand_in: SlurmStandIn) -> None:
        self.stand_in = slurm_stand_in

    def make_cluster(self, request: ClusterRequest) -> Cluster:
        settings = SlurmSettings(pilots=2, head_address="127.0.0.1")
        return SlurmCluster(dataclasses.replace(request, slurm=settings))

    def leavings(self) -> set[str]:
        jobs = {f"job {id}" for id, job in self.stand_in.jobs.items() if not job.ended}
        apart = {
            f"{process.pid}: pilot"
            for process in psutil.process_iter()
            if str(self.stand_in.folder) in " ".join(_words(process))
        }
        return rays_here() | jobs | apart


def _words(process: psutil.Process) -> list[str]:
    try:
        return [*process.cmdline(), *process.environ().values()]
    except psutil.Error:
        return []
