"""`orrery ui`: MLflow's server, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from rich.console import Console

from orchestrator import browsing
from orchestrator.home import Home
from orchestrator.mlflow_app import Message, Receive, Send, choices_of, script, with_choices
from telemetry.runs import Overview
from telemetry.sinks import mlflow_pages as pages
from tests.conftest import ROOT
from tests.orchestrator.quick_study import environment, wait_until

SERVES = """
import sys
from rich.console import Console
from orchestrator import browsing
browsing._command = lambda place, port: [sys.argv[2]]
sys.exit(browsing.serve(sys.argv[1], None, 5900, Console(), opens=False))
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_server_ends_with_all_it_has_started(
    home: Home, tmp_path: Path, sent: signal.Signals
) -> None:
    """MLflow's server starts workers and job runners, and is in no hurry to end them."""
    (home.writable().root / "mlflow.db").touch()
    server, pids = tmp_path / "server", tmp_path / "pids"
    server.write_text(
        f"#!/bin/sh\n(trap '' TERM; exec sleep 600) &\necho $$ $! > {pids}.new\n"
        f"mv {pids}.new {pids}\nwait\n"
    )
    server.chmod(0o755)
    running = subprocess.Popen(
        [sys.executable, "-c", SERVES, str(home.root), str(server)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        started = wait_until(lambda: pids.exists() and pids.read_text().split(), "it serves")
        running.send_signal(sent)
        assert running.wait(60) == (-signal.SIGKILL if sent == signal.SIGKILL else 0)
        wait_until(lambda: not any(map(_lives, map(int, started))), "all have ended")
    finally:
        running.kill()


def test_a_server_that_does_not_start_tells_what_it_said(home: Home, tmp_path: Path) -> None:
    (home.writable().root / "mlflow.db").touch()
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\necho no room for the store\nexit 7\n")
    server.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-c", SERVES, str(home.root), str(server)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "did not start (exit code 7)" in ended.stderr
    assert "no room for the store" in ended.stderr


def test_what_answers_must_be_the_server_that_was_started() -> None:
    with socket.socket() as mine:
        mine.bind((browsing.LOOPBACK, 0))
        port = mine.getsockname()[1]
        assert not browsing._listens(os.getpid(), port)
        mine.listen()
        assert browsing._listens(os.getpid(), port)
        assert not browsing._listens(os.getpid(), port + 1)


def test_a_port_that_was_lost_to_another_server_is_passed_over(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both looked for a free port before either had it."""
    (home.writable().root / "mlflow.db").touch()
    with socket.socket() as theirs:
        theirs.bind((browsing.LOOPBACK, 0))
        theirs.listen()
        lost = theirs.getsockname()[1]
        looks = iter([lost])
        free_port = browsing.free_port

        @contextmanager
        def server(command: list[str], place: Home) -> Iterator[SimpleNamespace]:
            port = int(command[command.index("--port") + 1])
            process = SimpleNamespace(
                pid=port, poll=lambda: 1 if port == lost else None, wait=lambda: 0
            )
            yield SimpleNamespace(process=process)

        monkeypatch.setattr(browsing, "free_port", lambda port: next(looks, free_port(port)))
        monkeypatch.setattr(browsing, "_server", server)
        monkeypatch.setattr(browsing, "_answers", lambda port: True)  # theirs does
        monkeypatch.setattr(browsing, "_listens", lambda pid, port: pid == port != lost)
        assert browsing.serve(home.root, None, lost, Console(), opens=False) == 0
    said = capsys.readouterr().out
    assert f"port {lost} is taken" in said
    assert f":{lost}/" not in said
    assert "MLflow is ready" in said


def test_the_page_gets_choices_that_were_not_made() -> None:
    """Other answers pass as they are."""
    sent: list[dict[str, object]] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"24"), (b"x-frame-options", b"SAMEORIGIN")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<html><head>", "more_body": True})
        await send({"type": "http.response.body", "body": b"</head></html>"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(dict(message))

    view = pages.view(Overview(measures=("final/f1",), factors=("rank",)), "parent")
    experiments = [
        SimpleNamespace(experiment_id="3", tags={pages.VIEW_TAG: view}),
        SimpleNamespace(experiment_id="4", tags={pages.VIEW_TAG: "of somebody </script>"}),
    ]
    choices = choices_of(experiments)
    shown = with_choices(app, lambda: choices)
    request = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(shown({**request, "path": "/"}, receive, send))
    asyncio.run(shown({**request, "path": "/health"}, receive, send))
    page, health = sent[1], sent[3:]
    text = bytes(page["body"]).decode()  # type: ignore[call-overload]
    assert text == f"<html><head>{script(choices)}</head></html>"
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(text)).encode()  # type: ignore[call-overload]
    assert dict(sent[0]["headers"])[b"x-frame-options"] == b"SAMEORIGIN"  # type: ignore[call-overload]
    assert [message["body"] for message in health] == [b"<html><head>", b"</head></html>"]
    assert "metrics.`final/f1`" in text
    assert 'Page-[\\"3\\"]' in text
    assert "somebody" not in text


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
