"""`orrery ui`: MLflow's server, and what becomes of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator.home import Home
from tests.orchestrator.quick_study import ROOT, environment, wait_until

SERVES = """
import sys
from orchestrator import browsing
sys.executable = sys.argv[2]
sys.exit(browsing.serve(sys.argv[1], 5900, print))
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
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
        assert running.wait(60) == 0
        wait_until(lambda: not any(map(_lives, map(int, started))), "all have ended")
    finally:
        running.kill()


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
