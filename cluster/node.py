"""A node that this host contributes to the Ray of a head elsewhere."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cluster.contract import ClusterError
from cluster.local import OBJECT_STORE_BYTES
from cluster.ray_folder import RayFolder
from cluster.ray_settings import environment_with, ray_environment
from cluster.reaching import REACH_LIMIT_S, reach

LABEL = "orrery-pilot"
"""The label under which a pilot's node carries its job's id."""

START_LIMIT_S = 60.0
LEAVE_LIMIT_S = 1.0
"""A raylet with a worker on it would drain for ten seconds after SIGTERM; who leaves has waited for
the trials already, and the notice of a preemption may be as short."""
_LOOK_EVERY_S = 0.2
_STARTED = "Ray runtime started"


class Node:
    """Processes of Ray on this host. They end with the process that has joined."""

    def __init__(self, process: subprocess.Popen[bytes], folder: RayFolder, log: Path) -> None:
        self._process = process
        self._folder = folder
        self.log = log
        """What Ray said while it started and why it ended."""

    def alive(self) -> bool:
        """Whether the node takes part still."""
        return self._process.poll() is None and self._raylet_lives()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the node has left, as it does when its head is gone. False: not in time."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.alive():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
        self.leave()
        return True

    def leave(self) -> None:
        """Ends it within seconds, and what runs on it, leaving nothing. May be called twice."""
        import psutil

        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()  # it ends its children, and they theirs
            _, left = psutil.wait_procs(family, timeout=LEAVE_LIMIT_S)
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.kill()
        self._process.wait()
        self._folder.remove()

    def _raylet_lives(self) -> bool:
        """The command that starts a node goes on, if its raylet ends by itself."""
        import psutil

        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if child.name() == "raylet" and child.status() != psutil.STATUS_ZOMBIE:
                        return True
        return False


def join(
    address: str,
    token: Path,
    cpus: float,
    gpus: float,
    memory_gib: float | None,
    folder: Path,
    *,
    labels: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    slow_network: float = 1.0,
) -> Node:
    """Joins the head at `address` (HOST:PORT, token file `token`) with so much of this host.

    `memory_gib` None or 0: what Ray finds. `folder` gets the log (`node-<host>-<pid>-<n>.log`).
    `labels` go to `ray.nodes()[…]["Labels"]`. `environment` is added for workers, such as
    `Sources.environment()`. Ports and temporary files are this node's own, so that nodes on one
    host, of one user or several, never meet. To be called from a thread that lives as long as the
    node. Raises `ClusterError`, with nothing left behind.
    """
    reach(
        address,
        "The Ray head",
        "If that is the wrong one of its addresses: -s slurm.head_address=…",
        REACH_LIMIT_S,
    )
    temporary = RayFolder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"node-{socket.gethostname()}-{temporary.path.name}.log"
        changes = ray_environment(token, slow_network) | dict(environment or {})
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(address, cpus, gpus, memory_gib, temporary.path, labels),
                env=environment_with(changes),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=temporary.path,
                start_new_session=True,  # a Ctrl-C or a job's signal is this process's to pass on
                preexec_fn=_end_with_parent,
            )
    except OSError as error:
        temporary.remove()
        raise ClusterError(f"No Ray node could be started: {error}.") from error
    node = Node(process, temporary, log)
    try:
        _await_start(node, process, address)
    except BaseException:
        node.leave()
        raise
    return node


def _command(
    address: str,
    cpus: float,
    gpus: float,
    memory_gib: float | None,
    temporary: Path,
    labels: Mapping[str, str],
) -> list[str]:
    free = ("node-manager", "object-manager", "runtime-env-agent", "metrics-export")
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        f"--address={address}",
        "--block",
        f"--temp-dir={temporary}",
        f"--num-cpus={int(cpus)}",
        f"--num-gpus={int(gpus)}",
        *([f"--memory={int(memory_gib * 2**30)}"] if memory_gib else []),
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--labels={','.join(f'{name}={value}' for name, value in labels.items())}",
        *(f"--{kind}-port=0" for kind in free),
        "--dashboard-agent-listen-port=0",
        "--dashboard-agent-grpc-port=0",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--log-color=false",
    ]


def _await_start(node: Node, process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while _STARTED not in (said := node.log.read_text(errors="replace")):
        if process.poll() is not None:
            raise ClusterError(f"No Ray node joined the head at {address}: {_reason(said)}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"No Ray node joined the head at {address} within {START_LIMIT_S:g} s. What Ray "
                f"said: {_reason(said)} ({node.log})"
            )
        time.sleep(_LOOK_EVERY_S)


def _reason(said: str) -> str:
    """The line of Ray's output that tells most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for sign in ("Version mismatch", "AuthenticationError", "Error", "Exception"):
        for number, line in enumerate(lines):
            if sign in line and not line.startswith("Traceback"):
                return " ".join(lines[number : number + 5])[:400]
    return lines[-1][:400] if lines else "nothing."


def _end_with_parent() -> None:
    """Runs in the child before the command: the kernel ends it when its parent dies."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
