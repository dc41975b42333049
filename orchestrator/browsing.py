"""MLflow's own server on a home, for `orrery ui`."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orchestrator.errors import OrreryError, UsageError
from orchestrator.home import Home
from orchestrator.interruption import interrupted_by_terminate, interruption_kept
from orchestrator.minding import PATIENCE_S
from orchestrator.publishing import place_of, sink_of
from telemetry import MlflowSink, StudyRun
from telemetry.sinks.mlflow_store import database_of, with_driver

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.study import Study

LOOPBACK = "127.0.0.1"
PORTS_TRIED = 50
READY_WITHIN_S = 180.0
LOOK_EVERY_S = 0.2
LINES_SHOWN = 15
"""Of what MLflow said, if it ends by itself."""
STUDIES = "#/experiments"
"""The path of the page that lists them: MLflow's first page welcomes to MLflow."""
APP = "orrery"
"""Entry point of the group ``mlflow.app``: `orchestrator.mlflow_app`."""


def serve(
    home: str | Path | None,
    study: Study | None,
    port: int,
    console: Console,
    opens: bool | None = None,
) -> int:
    """Serves until interrupted; gives the server's exit code.

    Tells the address when the server answers, of the study's runs if one is named. `opens`: whether
    to open a browser there; None: if there is one, and somebody at a terminal. Raises `UsageError`
    for what can't be shown, `OrreryError` if the server does not start.
    """
    place = study.home if study is not None else Home.find(home)
    sink = sink_of(place)
    if not isinstance(sink, MlflowSink):
        raise UsageError(f"Runs are published to {place_of(place)}: that has no MLflow pages.")
    away = place.tracking_uri.startswith("http")
    database = database_of(place.tracking_uri)
    if database is not None and not database.exists():
        raise UsageError(
            f"'{place.root}' holds no results yet. Run a study first: "
            "orrery run lora-sweep --preset smoke"
        )
    page = _page_of(study, sink, shared=away) if study is not None else STUDIES
    if away:
        _tell(console, f"MLflow is at {_joined(place_of(place), page)}")
        return 0
    try:
        while True:
            free = free_port(port)
            if free != port:
                _tell(console, f"port {port} is taken, using {free}")
            with _server(_command(place, free), place) as running, suppress(_PortLostError):
                _wait_until_ready(running, free, console)
                _tell_address(_joined(f"http://{LOOPBACK}:{free}", page), free, console, opens)
                return running.process.wait()
            port = free
    except KeyboardInterrupt:
        return 0


def _page_of(study: Study, sink: MlflowSink, *, shared: bool) -> str:
    run = StudyRun(name=study.name, instance=study.instance, origin=study.home.origin)
    page = sink.study_page(run, shared=shared)
    if page is None:
        raise UsageError(
            f"MLflow has no runs of {study.instance}. Run it: orrery run {study.name}; "
            "or, if it has run, send it there: orrery publish"
        )
    return page


def _joined(address: str, page: str) -> str:
    return f"{address.rstrip('/')}/{page}"


def _command(place: Home, port: int) -> list[str]:
    """MLflow's server on a home's store. Raises `UsageError`."""
    if not entry_points(group="mlflow.app", name=APP):
        raise UsageError(
            "This environment knows an older Orrery's parts. Install it again: pip install -e ."
        )
    return [
        sys.executable,
        *("-m", "mlflow", "server"),
        *("--backend-store-uri", with_driver(place.tracking_uri)),
        *("--artifacts-destination", place.mlflow_artifacts.as_uri()),
        *("--host", LOOPBACK, "--port", str(port), "--workers", "1"),
        *("--app-name", APP, "--uvicorn-opts", "--log-level warning --no-access-log"),
    ]


class _PortLostError(Exception):
    """Another server took the port between the look for a free one and the start of this one."""


class _Running:
    """A server with what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.process, self._said = process, said

    def last_lines(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LINES_SHOWN:])


@contextmanager
def _server(command: list[str], place: Home) -> Iterator[_Running]:
    """A server that ends with the block, and with this process, however that ends.

    What MLflow says, its tracebacks at the end among it, goes into a file that nobody sees unless
    the server does not start.
    """
    from orchestrator.mlflow_app import STORE_VARIABLE

    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        STORE_VARIABLE: with_driver(place.tracking_uri),
    }
    with tempfile.TemporaryFile() as said, interrupted_by_terminate():
        # a group of its own: MLflow's workers and job runners outlive a server that is told to end
        with interruption_kept() as interrupted:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.minding", *command],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        try:
            interrupted()
            yield _Running(process, said)
        finally:
            with interruption_kept():  # a second Ctrl-C leaves nothing behind either
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a minded server with everything it has started."""
    if process.stdin is not None:
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(2 * PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_ready(running: _Running, port: int, console: Console) -> None:
    """Returns when the server answers. Raises `OrreryError` if it never does, `_PortLostError` if
    another has the port."""
    starting = "MLflow is starting, which takes some seconds …"
    if not console.is_terminal:
        _tell(console, starting)
    status = console.status(starting) if console.is_terminal else nullcontext()
    deadline = time.monotonic() + READY_WITHIN_S
    with status:
        while not _answers(port):
            code = running.process.poll()
            if code is not None and free_port(port) != port:
                raise _PortLostError
            if code is not None:
                raise OrreryError(
                    f"MLflow's server did not start (exit code {code}). It said last:\n"
                    f"{running.last_lines()}"
                )
            if time.monotonic() > deadline:
                raise OrreryError(
                    f"MLflow's server does not answer after {READY_WITHIN_S:.0f} s. It said last:\n"
                    f"{running.last_lines()}"
                )
            time.sleep(LOOK_EVERY_S)
    if not _listens(running.process.pid, port):
        raise _PortLostError


def _answers(port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{LOOPBACK}:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _listens(pid: int, port: int) -> bool:
    """Whether it is this process, or one that it has started, that has the port: what answers there
    may be the server of another home. True where the system does not say."""
    import psutil

    try:
        started = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    for process in started:
        try:
            found = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            return True
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found):
            return True
    return False


def _tell_address(url: str, port: int, console: Console, opens: bool | None) -> None:
    _tell(console, f"MLflow is ready: {url}")
    if "SSH_CONNECTION" in os.environ:
        there = shlex.quote(socket.gethostname())
        _tell(console, f"From your own machine: ssh -N -L {port}:{LOOPBACK}:{port} {there}")
    _tell(console, "Ctrl-C stops it.")
    if console.is_terminal and _has_browser() if opens is None else opens:
        webbrowser.open(url)


def _has_browser() -> bool:
    """Whether a window can open here: one in this terminal would be in the way."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _tell(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)


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
