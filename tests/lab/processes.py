"""Processes of a lab, known by pid and start, so that nobody else's is ever ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec
import psutil

from tests.lab.errors import LabError


class Started(msgspec.Struct, frozen=True):
    """A process that a lab has started."""

    pid: int
    created_s: float
    """When it started: a pid alone may mean another process by now."""

    @classmethod
    def of(cls, pid: int) -> Started:
        """Raises `psutil.NoSuchProcess`."""
        return cls(pid, psutil.Process(pid).create_time())

    def runs(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return (
                process.create_time() == self.created_s and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False

    def end(self, patience_s: float = 0.0) -> None:
        """End it; with patience it is asked first. Returns when it runs no more."""
        if patience_s and self.runs():
            self._signal(signal.SIGTERM)
            self._wait(patience_s)
        if self.runs():
            self._signal(signal.SIGKILL)
        if not self._wait(30):
            raise LabError(f"process {self.pid} does not end, although it was killed")

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def _wait(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while self.runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def start(
    words: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, in a session of its own, that says all to `log`."""
    with log.open("ab") as said:
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for an error."""
    if not log.is_file():
        return f"(no {log.name})"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])


def say(pipe: IO[bytes] | None, text: str) -> None:
    """Send a line to a process that waits for it, and close its input."""
    assert pipe is not None
    with pipe:
        pipe.write(text.encode() + b"\n")
