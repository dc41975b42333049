"""A command in a process tree of its own, that ends with this process and hears only its signals.

Where SLURM tracks a job's processes by their parents (`proctrack/linuxproc`), it sends a notice to
all of them: Ray's processes would end at once, and the trials in them, that were to save first. So
the command is run below a process that has no parent in the job, and that watches a pipe from this
one. Where SLURM tracks by control groups, notices reach this process alone, and the command stays
in the job's group, as everything does.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

END_PATIENCE_S: Final = 15.0
"""How long a command that is told to end has for it, before it is killed."""
_BEGAN, _ENDED = "began", "ended"


class Apart:
    """A command that runs apart. Its exit code comes through a pipe: it is no child of ours."""

    def __init__(self, words: Sequence[str], output: IO[bytes] | None = None) -> None:
        """`output` takes what it prints; None: this process's own."""
        self._watcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "cluster.apart", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
        self._watcher.wait()  # it lives on in its child
        self.pid: int | None = None
        """The command's, once it has begun."""
        self.code: int | None = None
        """Its exit code as `Popen` gives it, once it has ended."""
        self._said = b""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The exit code; None if the command has not ended in time."""
        assert self._watcher.stdout is not None
        handle = self._watcher.stdout.fileno()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.code is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([handle], [], [], left)[0]:
                break
            self._take(os.read(handle, 4096))
        return self.code

    def signal(self, number: int) -> None:
        """Sends a signal to the command."""
        self._write(f"{number}\n".encode())

    def end(self) -> int:
        """Ends it (SIGTERM, and SIGKILL after a while) unless it has ended; its exit code."""
        assert self._watcher.stdin is not None
        with suppress(BrokenPipeError):  # its watcher has ended
            self._watcher.stdin.close()
        code = self.wait(END_PATIENCE_S + 5)
        return -signal.SIGKILL if code is None else code

    def _write(self, said: bytes) -> None:
        assert self._watcher.stdin is not None
        try:
            self._watcher.stdin.write(said)
            self._watcher.stdin.flush()
        except BrokenPipeError:  # it has ended: `wait` tells
            return

    def _take(self, said: bytes) -> None:
        if not said:  # its watcher was killed, and it with it
            self.code = -signal.SIGKILL
            return
        self._said += said
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            word, _, number = line.decode().partition(" ")
            if word == _BEGAN:
                self.pid = int(number)
            elif word == _ENDED:
                self.code = int(number)


def _watch(words: Sequence[str]) -> None:
    """Runs the command and relays signals until it ends, or the pipe does."""
    command = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=_ends_with_parent_and_hears_interrupts,
    )
    _tell(f"{_BEGAN} {command.pid}")
    kill_at: float | None = None
    while command.poll() is None:
        if kill_at is None and select.select([0], [], [], 0.2)[0]:
            said = os.read(0, 4096)
            for number in said.split():
                command.send_signal(int(number))
            if not said:
                command.terminate()
                kill_at = time.monotonic() + END_PATIENCE_S
        elif kill_at is not None:
            time.sleep(0.1)
            if time.monotonic() > kill_at:
                command.kill()
    _tell(f"{_ENDED} {command.returncode}")


def _tell(line: str) -> None:
    try:
        os.write(1, f"{line}\n".encode())
    except BrokenPipeError:  # nobody is left to hear it
        return


def _ends_with_parent_and_hears_interrupts() -> None:
    """Runs in the child before the command. A shell's background processes ignore Ctrl-C, and so
    would theirs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _main(words: Sequence[str]) -> None:
    if os.fork():
        os._exit(0)  # whoever is left has no parent in the job
    os.setsid()
    # notices are for the one who holds the pipe
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    _watch(words)


if __name__ == "__main__":
    _main(sys.argv[1:])
