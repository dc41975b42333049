"""What kind of failure it was: by exception in the worker, by what Ray says in the driver."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.records import Failure, FailureKind
from workloads.errors import DivergedError, InputError

CAUSE_LENGTH = 300

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


def out_of_memory_kills() -> int:
    """How often the kernel has killed a process of this control group for memory; 0 if unknown."""
    total = 0
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total


def one_line(error: BaseException) -> str:
    """`Type: first line of the message`, at most 300 characters."""
    message = _shortened(str(error)) or "no message"
    return message if isinstance(error, InputError) else f"{type(error).__name__}: {message}"


def _shortened(text: str) -> str:
    """The first line that says anything, without terminal colours."""
    lines = (re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("Failure #")), "")
    return first if len(first) <= CAUSE_LENGTH else first[: CAUSE_LENGTH - 1] + "…"


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, MemoryError) or _speaks_of_memory(f"{type(error).__name__} {error}"):
        return "out_of_memory"
    if isinstance(error, TimeoutError):
        return "timed_out"
    if isinstance(error, OSError):
        return "unknown"
    return "user_error" if isinstance(error, Exception) else "unknown"


def _speaks_of_memory(text: str) -> bool:
    return any(word in text.lower() for word in _MEMORY_WORDS)
