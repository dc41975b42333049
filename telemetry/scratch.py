"""Folders that a process makes for itself and removes, and those that a killed one has left.

Their names say who made them: ``PREFIX<host>.<pid namespace>-<pid>-<random>``. A home may lie on a
file system that several hosts share, and a pid says something only where it was given.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path


def scratch_prefix(prefix: str) -> str:
    """What `tempfile` is to begin a name with, so that `left_behind` knows it; `prefix` ends with
    a dash."""
    return f"{prefix}{_here()}-{os.getpid()}-"


def left_behind(parent: Path, prefix: str) -> Iterator[Path]:
    """What begins with `prefix` in `parent` and was made here, by a process that is dead."""
    for path in sorted(parent.glob(f"{prefix}*-*-*")):
        maker, pid, _ = path.name.rsplit("-", 2)
        if maker.endswith(f"-{_here()}") and pid.isdigit() and not _lives(int(pid)):
            yield path


def _here() -> str:
    """Where a pid means the same as in this process; it outlives a boot, and has no dash."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not Linux
        namespace = 0
    return f"{socket.gethostname().replace('-', '_')}.{namespace}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
