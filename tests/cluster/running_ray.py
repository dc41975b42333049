"""A Ray cluster that somebody else has started: what `--on ray:…` is for."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.local import OBJECT_STORE_BYTES

PATIENCE_S = 60.0


@dataclass(frozen=True)
class RunningRay:
    """A head with CPUs on this host."""

    address: str
    token_path: Path
    session: Path
    dashboard: str
    """Where it is, if it has been asked for."""

    @property
    def environment(self) -> dict[str, str]:
        """What its user has set."""
        return {"RAY_AUTH_TOKEN_PATH": str(self.token_path)}


@contextmanager
def running_ray(cpus: int = 2, *, dashboard: bool = False) -> Iterator[RunningRay]:
    """Starts it with a token of its own on free ports; ends it with all that runs on it.

    A `dashboard`, which the Job API is part of, needs ray[default].
    """
    port = _free_port()
    folder = Path(tempfile.mkdtemp(prefix="orrery-test-ray-", dir="/tmp"))
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--port=0", "--min-worker-port=0", "--max-worker-port=0"),
                *("--dashboard-agent-listen-port=0", f"--include-dashboard={dashboard}"),
                f"--dashboard-port={port}",
                *(f"--num-cpus={cpus}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
                f"--temp-dir={folder / 'ray'}",
                "--disable-usage-stats",
            ],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
                # the `python` of the cluster's jobs
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(token),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        yield RunningRay(_address(head, folder), token, folder, f"http://127.0.0.1:{port}")
    finally:
        head.terminate()
        head.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _address(head: subprocess.Popen[bytes], folder: Path) -> str:
    """Written down once all of it is up."""
    path = folder / "ray" / "ray_current_cluster"
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text()):
        assert head.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.1)
    return path.read_text()
