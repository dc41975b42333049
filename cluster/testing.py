"""`ClusterContract`: the tests that every cluster which offers a Ray must pass.

    from cluster.testing import ClusterContract

    class TestMine(ClusterContract):
        def make_cluster(self, request):
            return MyCluster(request)

        def leavings(self):
            return processes_and_folders_of_mine()

Run it with pytest, in a process that has no Ray of its own: entering connects the process.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.contract import Cluster, ClusterRequest, TrialSize
from cluster.ray_settings import network_settings

__all__ = ["ClusterContract"]

PATIENCE_S = 120.0
"""How long what must happen is waited for; only a failure takes that long."""


class ClusterContract:
    """Subclass it, say how to make the cluster and what it might leave, and run it with pytest."""

    # -- what a subclass says -------------------------------------------------------------------

    def make_cluster(self, request: ClusterRequest) -> Cluster:
        """A new cluster for that request, not entered."""
        raise NotImplementedError

    def leavings(self) -> set[str]:
        """What such clusters have running or lying about now: processes, folders, jobs."""
        raise NotImplementedError

    @pytest.fixture
    def shared(self, tmp_path: Path) -> Path:
        """An empty folder that every node of the cluster sees."""
        return tmp_path

    # -- what is asked for ----------------------------------------------------------------------

    @pytest.fixture
    def request_made(self, shared: Path) -> ClusterRequest:
        """Two trials of one CPU."""
        study = f"contract-{secrets.token_hex(4)}"
        home = shared / "home"
        folder = home / "studies" / study
        folder.mkdir(parents=True)
        return ClusterRequest(study, home, folder, TrialSize(), trials=2, tell=lambda line: None)

    @pytest.fixture(autouse=True)
    def _alone(self) -> Iterator[None]:
        import ray

        if ray.is_initialized():
            pytest.skip("this process has a Ray already: the contract needs a process of its own")
        yield
        if ray.is_initialized():
            ray.shutdown()

    # -- the contract ---------------------------------------------------------------------------

    def test_trials_run_on_it_see_the_home_and_nothing_is_left(
        self, request_made: ClusterRequest
    ) -> None:
        import ray

        before = self.leavings()
        environment = _settings()
        cluster = self.make_cluster(request_made)
        assert cluster.name
        written = request_made.home / "written"
        with cluster as offered:
            assert ray.is_initialized()
            assert offered.fits(request_made.trial) >= 1
            cluster.need(2)
            written.write_text("by the driver")
            run = ray.remote(_reads_and_writes).options(num_cpus=1)
            names = ["first", "second"]
            found = ray.get([run.remote(str(written), n) for n in names], timeout=PATIENCE_S)
            assert found == ["by the driver", "by the driver"]
            assert {(request_made.home / name).read_text() for name in names} == {"by a trial"}
            cluster.need(0)
        assert not ray.is_initialized()
        assert _settings() == environment
        self._await_no_more_than(before)

    def test_it_can_be_entered_again_after_an_error_that_passes_through_and_leaves_nothing(
        self, request_made: ClusterRequest
    ) -> None:
        """Starting takes seconds, so two starts prove all of it: a second exit does nothing."""
        import ray

        before = self.leavings()
        first = self.make_cluster(request_made)
        with pytest.raises(KeyboardInterrupt), first:
            raise KeyboardInterrupt
        self._await_no_more_than(before)
        first.__exit__(None, None, None)
        with self.make_cluster(request_made) as offered:
            assert offered.fits(request_made.trial) >= 1
            run = ray.remote(_process).options(num_cpus=1)
            assert ray.get(run.remote(), timeout=PATIENCE_S) != os.getpid()
        self._await_no_more_than(before)

    def _await_no_more_than(self, before: set[str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (left := self.leavings() - before) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left


def _settings() -> dict[str, str | None]:
    """What a Ray of several hosts needs set in the environment, and no other Ray may find there."""
    return {name: os.environ.get(name) for name in (*network_settings(), "RAY_AUTH_TOKEN_PATH")}


def _process() -> int:
    return os.getpid()


def _reads_and_writes(path: str, name: str) -> str:
    """What a trial does of the home: reads a file of it, and writes one beside it."""
    found = Path(path).read_text()
    Path(path).with_name(name).write_text("by a trial")
    return found
