"""What a pilot's job runs: a node that joins the study's head, until it is told to leave."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cluster.apart import Apart
from cluster.slurm.environment import job_id, on_notice
from cluster.slurm.pilot_node import SAID

_LOOK_EVERY_S: Final = 0.2
_QUIET_LOOKS: Final = 3
"""So often in a row no trial has to be seen running before the node leaves: between two steps of
one there is a moment."""
_LEAVE_S: Final = 8.0
"""What is left of the time of notice for the node itself to leave in."""


def run_pilot(said: Mapping[str, Any]) -> None:
    """Runs `pilot_node.stay` until the head has gone or SLURM tells the job to leave.

    Told to leave, it passes that on to what runs on its node, waits for that to save and end, for
    at most `said["notice_s"]`, and leaves. Ends the process with 1 if it could not join.
    """
    notice = _Notice()
    on_notice(notice.take)
    token = Path(said["token"])
    if not token.exists():
        _say(f"the study's driver is gone, or this node does not see '{token}'")
        raise SystemExit(1)
    folder = Path(tempfile.mkdtemp(prefix="orrery-pilot-"))
    words = json.dumps(
        {**said, "job": job_id() or str(os.getpid()), "notice": str(folder / "notice")}
    )
    try:
        node = Apart([sys.executable, "-P", "-m", "cluster.slurm.pilot_node", words])
        try:
            while notice.cause is None and node.wait(_LOOK_EVERY_S) is None:
                continue
            if notice.cause is not None:
                _say(f"told to leave: {notice.cause}")
                _pass_on(folder / "notice", notice.cause)
                _await_quiet(node, max(_LEAVE_S, float(said["notice_s"])) - _LEAVE_S)
        finally:
            code = node.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code > 0:
        raise SystemExit(code)


class _Notice:
    """Why the job was told to leave, set by a signal handler."""

    cause: str | None = None

    def take(self, cause: str) -> None:
        self.cause = self.cause or cause


def _pass_on(file: Path, cause: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(cause)
    partial.replace(file)


def _await_quiet(node: Apart, limit_s: float) -> None:
    """Waits until no trial runs on the node, or it is high time."""
    began = time.monotonic()
    quiet = 0
    while time.monotonic() - began < limit_s and node.wait(_LOOK_EVERY_S) is None:
        quiet = 0 if _trials_run(node.pid) else quiet + 1
        if quiet >= _QUIET_LOOKS:
            return


def _trials_run(pid: int | None) -> bool:
    """Whether a worker of Ray below a process is in the middle of a call. Ray titles them
    `ray::Class.method` then, and `ray::Class` or `ray::IDLE` otherwise."""
    import psutil

    with suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                if title.startswith("ray::") and "." in title:
                    return True
    return False


def _say(line: str) -> None:
    print(f"{SAID}{line}", flush=True)
