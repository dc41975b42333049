"""A command that runs apart hears what it is sent, and ends with who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from cluster.apart import Apart
from tests.orchestrator.quick_study import wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_it_tells_how_the_command_ended_and_passes_its_words_on(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        command = Apart([sys.executable, "-c", "print('hello'); raise SystemExit(3)"], output)
        assert command.wait(60) == 3
    assert command.end() == 3
    assert (tmp_path / "out").read_text() == "hello\n"


def test_it_has_no_parent_here_and_hears_a_signal() -> None:
    command = Apart(SLEEP)
    try:
        wait_until(lambda: command.wait(0.1) is None and command.pid, "it begins")
        below = {child.pid for child in psutil.Process().children(recursive=True)}
        assert command.pid not in below
        command.signal(signal.SIGINT)
        assert command.wait(60) not in (None, 0)
    finally:
        command.end()


def test_it_is_ended() -> None:
    command = Apart(SLEEP)
    wait_until(lambda: command.wait(0.1) is None and command.pid, "it begins")
    assert command.pid is not None
    assert command.end() == -signal.SIGTERM
    assert not psutil.pid_exists(command.pid)


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom cluster.apart import Apart\n"
        f"command = Apart({SLEEP!r})\n"
        "while command.pid is None: command.wait(0.1)\n"
        "print(command.pid, flush=True)\ntime.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not psutil.pid_exists(pid), "it has ended")


def test_waiting_keeps_to_its_time() -> None:
    command = Apart(SLEEP)
    began = time.monotonic()
    assert command.wait(0.2) is None
    assert time.monotonic() - began >= 0.2
    command.end()
