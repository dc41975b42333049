"""A head for several hosts and the nodes that join it, all on this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster import ClusterError
from cluster.node import join
from tests.conftest import ROOT

PATIENCE_S = 90.0

DRIVER = """
import json, os, sys
from pathlib import Path
import psutil, ray
from cluster import ClusterRequest
from cluster.head import Head
from cluster.slurm.settings import SlurmSettings
from cluster.sources import Sources

home = Path(sys.argv[1])
sources = Sources.snapshot(home)
request = ClusterRequest("study-1", home, home / "studies" / "study-1")
head = Head(request, sources)
started = head.start()
def tell(**found):
    print(json.dumps(found), flush=True)
tell(
    address=started.address,
    token=str(started.token_path),
    sources=str(sources.path),
    resources=[node["Resources"] for node in ray.nodes()],
    dashboards=[
        w for p in psutil.Process().children(recursive=True)
        if "dashboard.py" in (w := " ".join(p.cmdline())) and "--disable-frontend" not in w
    ],
)
@ray.remote(num_cpus=1, max_retries=0)
def look():
    import os, ray, telemetry
    return telemetry.__file__, dict(os.environ), ray.get_runtime_context().get_node_id()
for line in sys.stdin:
    if line.strip() == "nodes":
        tell(nodes=[
            (node["Alive"], node["Resources"].get("CPU"), node["Labels"].get("orrery-pilot"))
            for node in ray.nodes()
        ])
    elif line.strip() == "look":
        tell(found=ray.get([look.remote() for _ in range(2)], timeout=60))
    else:
        head.stop()
        head.stop()
        tell(initialized=ray.is_initialized(), settings=sorted(
            name for name in os.environ if name.startswith(("RAY_grpc", "RAY_AUTH_TOKEN"))
        ))
"""


class Driver:
    """A process with a head, that answers questions."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told = self._next()
        self.address: str = self.told["address"]
        self.token = Path(self.told["token"])

    def ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._next()

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise AssertionError(f"the driver ended with {self.process.wait()}")


@contextmanager
def driver(home: Path) -> Iterator[Driver]:
    home.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**environment, "RAY_AUTH_TOKEN": "of-another-cluster", "RAY_ADDRESS": "10.1.2.3:4"},
    )
    try:
        yield Driver(process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where nodes of this process have their folders, and nobody else's: a short path."""
    with tempfile.TemporaryDirectory(prefix="o-", dir="/tmp") as folder:
        monkeypatch.setattr("cluster.ray_folder._SOCKET_ROOT", Path(folder))
        yield Path(folder)


def await_gone(processes: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not left


@pytest.mark.slow
def test_two_nodes_on_one_host_join_run_the_copied_sources_and_leave(
    tmp_path: Path, root: Path
) -> None:
    with driver(tmp_path) as ours:
        token = ours.token
        assert token.stat().st_mode & 0o777 == 0o600
        assert len(token.read_text()) == 64
        assert [size.get("CPU") for size in ours.told["resources"]] == [None]
        assert ours.told["dashboards"] == []

        environment = {"PYTHONPATH": ours.told["sources"], "PYTHONSAFEPATH": "1"}
        nodes = [
            join(
                *(ours.address, token, 1, 0, 1.0, tmp_path / "nodes"),
                labels={"orrery-pilot": f"12_{number}"},
                environment=environment,
            )
            for number in (1, 2)
        ]
        try:
            found = ours.ask("nodes")["nodes"]
            assert sorted(map(str, found)) == sorted(
                map(str, [[True, None, None], [True, 1.0, "12_1"], [True, 1.0, "12_2"]])
            )
            assert len(list(root.iterdir())) == 2
            looks = ours.ask("look")["found"]
            for file, seen, _ in looks:
                assert Path(file).is_relative_to(ours.told["sources"])
                assert seen["RAY_health_check_period_ms"] == "1000"
                assert seen["RAY_USAGE_STATS_ENABLED"] == "0"
            assert len({node for _, _, node in looks}) == 2
            assert all(node.alive() for node in nodes)
        finally:
            for node in nodes:
                node.leave()
        assert not any(node.alive() for node in nodes)
        assert not list(root.iterdir())
        nodes[0].leave()

        told = ours.ask("stop")
        assert told == {"initialized": False, "settings": ["RAY_AUTH_TOKEN"]}
        assert not token.exists()


@pytest.mark.slow
def test_a_killed_driver_leaves_no_head_and_its_nodes_leave(tmp_path: Path) -> None:
    with driver(tmp_path) as ours:
        children = psutil.Process(ours.process.pid).children(recursive=True)
        assert children
        node = join(
            *(ours.address, ours.token, 1, 0, None, tmp_path / "nodes"),
            labels={"orrery-pilot": "1"},
        )
        try:
            ours.process.send_signal(signal.SIGKILL)
            await_gone(children)
            assert node.wait(PATIENCE_S)
            assert not node.alive()
        finally:
            node.leave()


JOINER = """
import sys, time
from pathlib import Path
from cluster.node import join
join(sys.argv[1], Path(sys.argv[2]), 1, 0, None, Path(sys.argv[3]), labels={"orrery-pilot": "1"})
print("joined", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_node_ends_with_the_process_that_joined_even_if_killed(tmp_path: Path) -> None:
    with driver(tmp_path) as ours:
        joiner = subprocess.Popen(
            [sys.executable, "-c", JOINER, ours.address, str(ours.token), str(tmp_path / "nodes")],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert joiner.stdout is not None
        assert joiner.stdout.readline().strip() == b"joined"
        children = psutil.Process(joiner.pid).children(recursive=True)
        assert any(child.name() == "raylet" for child in children)
        joiner.kill()
        joiner.wait()
        await_gone(children)


@pytest.mark.slow
def test_a_node_without_the_token_is_refused_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    with driver(tmp_path / "home") as ours:
        with pytest.raises(ClusterError, match=r"No Ray node joined the head at .*uth"):
            join(ours.address, wrong, 1, 0, None, tmp_path / "nodes", labels={"orrery-pilot": "1"})
        assert not list(root.iterdir())
        assert len(ours.ask("nodes")["nodes"]) == 1


def test_a_head_that_does_not_answer_is_told_with_what_was_tried(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.node.REACH_LIMIT_S", 1.5)
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1 .*tried to connect for 1\.5 s: Conn"):
        join("127.0.0.1:1", tmp_path, 1, 0, None, tmp_path, labels={})
    assert time.monotonic() - began < PATIENCE_S
    assert not list(root.iterdir())
