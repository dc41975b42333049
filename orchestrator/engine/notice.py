"""A notice to leave: this process, or its whole node, is about to be stopped.

Whoever learns of it in this process says so with `give`. Whoever learns of it for a whole node (a
pilot, whose SLURM job is told) writes the cause into the file that `$ORRERY_NOTICE_FILE` names for
the processes of that node. What runs there saves and ends; nothing is lost, and nothing counts.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

FILE_VARIABLE = "ORRERY_NOTICE_FILE"
LOOK_EVERY_S = 1.0
"""So seldom is the file looked for, however often somebody asks."""
NO_CAUSE = "its node is about to be taken away"

_given: str | None = None
_looked_at_s = float("-inf")


def give(cause: str) -> None:
    """Gives notice to this process. The first cause stays. Safe in a signal handler."""
    global _given
    if _given is None:
        _given = cause or NO_CAUSE


def write(path: Path, cause: str) -> None:
    """Gives notice to every process whose `$ORRERY_NOTICE_FILE` is `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(cause)
    partial.replace(path)


def withdraw() -> None:
    """Forgets the notice, for a process that goes on after all. A file that is still there gives
    it again."""
    global _given, _looked_at_s
    _given, _looked_at_s = None, float("-inf")


def wanted() -> str | None:
    """Why this process is to leave, in one line; None while it may stay.

    Costs next to nothing: the file is looked for at most once a second.
    """
    global _looked_at_s
    if _given is not None:
        return _given
    now = time.monotonic()
    if now - _looked_at_s < LOOK_EVERY_S:
        return None
    _looked_at_s = now
    named = os.environ.get(FILE_VARIABLE)
    if named:
        try:
            text = Path(named).read_text().strip()
        except OSError:  # not there, or not any more
            return None
        give(text.splitlines()[0] if text else NO_CAUSE)
    return _given
