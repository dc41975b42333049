"""MLflow's own server on a home, for `orrery ui`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.interruption import interrupted_by_terminate, interruption_kept
from orchestrator.publishing import place_of, sink_of
from telemetry import MlflowSink
from telemetry.sinks.mlflow_store import database_of, with_driver

LOOPBACK = "127.0.0.1"
PORTS_TRIED = 50
PATIENCE_S = 5.0
"""How long the server may take to end."""


def serve(home: str | Path | None, port: int, say: Callable[[str], None]) -> int:
    """Serves until interrupted; gives the server's exit code. Raises `UsageError`."""
    place = Home.find(home)
    sink = sink_of(place)
    if not isinstance(sink, MlflowSink):
        raise UsageError(f"Runs are published to {place_of(place)}: that has no MLflow pages.")
    if place.tracking_uri.startswith("http"):
        say(f"MLflow is at {place_of(place)}")
        return 0
    database = database_of(place.tracking_uri)
    if database is not None and not database.exists():
        raise UsageError(
            f"'{place.root}' holds no results yet. Run a study first: "
            "orrery run lora-sweep --preset smoke"
        )
    free = free_port(port)
    if free != port:
        say(f"port {port} is taken, using {free}")
    say(f"MLflow on http://{LOOPBACK}:{free}  (Ctrl-C stops it)")
    command = [
        sys.executable,
        *("-m", "mlflow", "server"),
        *("--backend-store-uri", with_driver(place.tracking_uri)),
        *("--artifacts-destination", place.mlflow_artifacts.as_uri()),
        *("--host", LOOPBACK, "--port", str(free), "--workers", "1"),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    # a group of its own: MLflow's workers and job runners outlive a server that is told to end
    with interrupted_by_terminate():
        with interruption_kept() as interrupted:
            process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            interrupted()
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process with everything it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port(first: int) -> int:
    """The first port from `first` on that is free on the loopback address."""
    for port in range(first, first + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise UsageError(f"No port from {first} to {first + PORTS_TRIED - 1} is free. Give --port.")
