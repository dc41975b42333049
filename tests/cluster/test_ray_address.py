"""An existing Ray cluster that cannot be used: one clear line for each reason."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from cluster import ClusterError
from cluster.ray_address import RayCluster
from cluster.ray_jobs import RayJobs, same_python
from tests.cluster.running_ray import RunningRay, running_ray
from tests.conftest import ROOT

ENTER = """
import sys
from cluster import ClusterError
from cluster.ray_address import RayCluster
try:
    with RayCluster(sys.argv[1]) as offered:
        print(offered.cpus)
except ClusterError as error:
    print(error)
"""


def entered(address: str, **variables: str) -> str:
    """What becomes of entering a cluster in a process of its own."""
    return said_by(ENTER, address, **variables)


def said_by(code: str, address: str, **variables: str) -> str:
    """The last line that some code prints in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code, address],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | variables,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def theirs() -> Iterator[RunningRay]:
    with running_ray() as ray:
        yield ray


@pytest.mark.slow
def test_a_token_is_used_wanted_and_told(theirs: RunningRay, tmp_path: Path) -> None:
    assert entered(theirs.address, **theirs.environment) == "2.0"
    assert "wants a token" in entered(theirs.address, HOME=str(tmp_path))
    (tmp_path / "wrong").write_text("0" * 64)
    told = entered(theirs.address, RAY_AUTH_TOKEN_PATH=str(tmp_path / "wrong"))
    assert "wants a token, and not the one given. Set RAY_AUTH_TOKEN_PATH" in told
    told = entered(theirs.address, RAY_AUTH_TOKEN_PATH=str(tmp_path / "none"))
    assert f"RAY_AUTH_TOKEN_PATH '{tmp_path / 'none'}': No such file" in told


PROBE = """
import json, sys
from cluster import ray_probe
ray_probe.ours = lambda: {"Ray": "2.1.0", "Python": "3.99"}
print(json.dumps(ray_probe.probe(sys.argv[1])))
"""


@pytest.mark.slow
def test_other_versions_are_seen_before_anything_is_connected(theirs: RunningRay) -> None:
    import ray

    found = json.loads(said_by(PROBE, theirs.address, RAY_AUTH_MODE="token", **theirs.environment))
    ours = ".".join(map(str, sys.version_info[:2]))
    assert found == {"connected": False, "versions": {"Ray": ray.__version__, "Python": ours}}


@pytest.mark.slow
def test_a_host_that_is_no_node_is_told_how_to_go_there(theirs: RunningRay) -> None:
    sockets = next((theirs.session / "ray").glob("session_2*")) / "sockets"
    away = sockets.with_name("away")
    sockets.rename(away)
    try:
        told = entered(theirs.address, **theirs.environment)
    finally:
        away.rename(sockets)
    assert "This host is no node of the Ray cluster" in told
    assert "--on ray:http://HOST:8265" in told


def test_nothing_that_listens_is_told_with_what_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cluster.ray_address._TRY_FOR_S", 1.5)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1 .* tried to connect for 1\.5 s"):
        RayCluster("127.0.0.1:1").__enter__()


def test_what_listens_but_is_no_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.ray_address._LIMIT_S", 0.0)
    monkeypatch.setattr("cluster.ray_address._LEAST_S", 3.0)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"{address}, but in 3 s it did not answer"):
            RayCluster(address).__enter__()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ray://127.0.0.1:10001", "Ray Client's address"),
        ("127.0.0.1", "is not HOST:PORT"),
        ("no-such-host.invalid:6379", "cannot be found"),
    ],
)
def test_what_is_no_address_is_told(address: str, told: str) -> None:
    with pytest.raises(ClusterError, match=told):
        RayCluster(address).__enter__()


class Answers(BaseHTTPRequestHandler):
    """An HTTP server that is no dashboard, or one of another cluster."""

    code: ClassVar[int] = 200
    said: ClassVar[Any] = {}
    tokens: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        Answers.tokens.append(self.headers.get("Authorization"))
        self.send_response(Answers.code)
        self.end_headers()
        said = Answers.said
        self.wfile.write((said if isinstance(said, str) else json.dumps(said)).encode())

    def log_message(self, *told: Any) -> None:
        pass


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RayJobs]:
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    server = HTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield RayJobs(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (200, {"ray_version": "2.1.0"}, r"has Ray 2\.1\.0, this process \d"),
        (401, "Unauthorized", "wants a token"),
        (403, "Forbidden", "wants a token"),
        (500, "Traceback\nValueError: broken\n", r"\(HTTP 500\): ValueError: broken"),
        (200, "<html>hello</html>", "is not Ray's dashboard: it sent no JSON"),
        (200, [1, 2], "is not Ray's dashboard"),
    ],
)
def test_a_dashboard_that_cannot_be_used_is_told(
    dashboard: RayJobs, monkeypatch: pytest.MonkeyPatch, code: int, said: Any, told: str
) -> None:
    monkeypatch.setattr(Answers, "code", code)
    monkeypatch.setattr(Answers, "said", said)
    with pytest.raises(ClusterError, match=told) as caught:
        dashboard.refuse_other_ray()
    assert "\n" not in str(caught.value)


def test_the_token_goes_with_each_question(
    dashboard: RayJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(Answers, "said", {"ray_version": ray.__version__})
    monkeypatch.setattr(Answers, "tokens", [])
    dashboard.refuse_other_ray()
    assert Answers.tokens == ["Bearer secret"]


def test_no_dashboard_is_told_with_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.ray_jobs._TRY_FOR_S", 1.5)
    with pytest.raises(ClusterError, match=r"http://127\.0\.0\.1:1/.*refused.* Tried for 1\.5 s"):
        RayJobs("http://127.0.0.1:1").refuse_other_ray()


def test_pythons_differ_by_their_minor_version() -> None:
    ours = ".".join(map(str, sys.version_info[:2]))
    assert same_python(f"{ours}.99")
    assert not same_python(f"{sys.version_info[0]}.{sys.version_info[1] + 1}.0")
