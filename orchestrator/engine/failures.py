"""What kind of failure it was: by exception in the worker, by what Ray says in the driver."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from orchestrator.errors import OrreryError
from orchestrator.records import Failure, FailureKind
from workloads.errors import DivergedError, InputError

CAUSE_LENGTH = 300
FULL = (errno.ENOSPC, errno.EDQUOT)

_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "memory pressure",
    "outofmemory",
)


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception raised by a workload stands for, with one line of cause."""
    return Failure(_kind(error), one_line(error))


def failure_of_lost_worker(seen: str, killed_for_memory: bool) -> Failure:
    """The failure of a worker that died, by what Ray says of it (maybe nothing).

    Out of memory is looked for before a lost node is concluded.
    """
    text = f"the worker died: {_shortened(seen)}" if seen.strip() else "the worker died"
    if killed_for_memory or _speaks_of_memory(seen):
        return Failure("out_of_memory", text)
    return Failure("node_lost", text)


def speaks_of_full_disk(cause: str) -> bool:
    """Whether a failure's cause says that a disk, or somebody's part of it, is full."""
    return any(os.strerror(number).lower() in cause.lower() for number in FULL)


def out_of_memory_kills() -> int:
    """How often the kernel has killed a process for memory, by the first place that tells: this
    process's control group, else the whole machine; 0 if none does."""
    for path in (*_memory_groups(), Path("/proc/vmstat")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        kills = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
        if kills:
            return kills[0]
    return 0


def _memory_groups() -> list[Path]:
    """Files that count kills in this process's control group (version 2, then version 1)."""
    root = Path("/sys/fs/cgroup")
    found = []
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                found.append(root / group.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                found.append(root / "memory" / group.lstrip("/") / "memory.oom_control")
    except (OSError, ValueError):
        return []
    return found


def one_line(error: BaseException) -> str:
    """`Type: first line of the message`, at most 300 characters."""
    message = _shortened(str(error)) or "no message"
    return (
        message
        if isinstance(error, InputError | OrreryError)
        else f"{type(error).__name__}: {message}"
    )


def _shortened(text: str) -> str:
    """The first line that says anything, without terminal colours; of Ray's tracebacks the last,
    without the module of the error."""
    plain = (re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines())
    lines = [line for line in plain if line and not line.startswith("Failure #")]
    first = next(iter(lines), "")
    if first.startswith("ray::"):
        first = re.sub(r"^(?:\w+\.)+(?=\w+: )", "", lines[-1])
    return first if len(first) <= CAUSE_LENGTH else first[: CAUSE_LENGTH - 1] + "…"


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, MemoryError) or _speaks_of_memory(f"{type(error).__name__} {error}"):
        return "out_of_memory"
    if isinstance(error, OSError | KeyboardInterrupt):
        return "unknown"
    return "user_error"


def _speaks_of_memory(text: str) -> bool:
    return any(word in text.lower() for word in _MEMORY_WORDS)
