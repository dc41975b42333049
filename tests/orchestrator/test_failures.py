"""A failure has a kind and one line of cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.failures import (
    failure_of,
    failure_of_lost_worker,
    one_line,
    out_of_memory_kills,
)
from orchestrator.records import FailureKind
from workloads.errors import DivergedError, InputError

OUT_OF_MEMORY = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "user_error"),
        (KeyError("x"), "user_error"),
        (RuntimeError("shapes differ"), "user_error"),
        (InputError("x"), "user_error"),
        (DivergedError("NaN"), "diverged"),
        (MemoryError(), "out_of_memory"),
        (OUT_OF_MEMORY("CUDA out of memory. Tried to allocate"), "out_of_memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (OSError(28, "No space left on device"), "unknown"),
        (ConnectionError("reset"), "unknown"),
        (TimeoutError("a server was late"), "unknown"),
        (SystemExit(0), "user_error"),
        (KeyboardInterrupt(), "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_exception_stands_for_a_kind(error: BaseException, kind: FailureKind) -> None:
    assert failure_of(error).kind == kind


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError("\n\n  third  \n"), "ValueError: third"),
        (ValueError(), "ValueError: no message"),
        (ValueError("\x1b[31mred\x1b[0m"), "ValueError: red"),
        (InputError("give another one."), "give another one."),
    ],
    ids=repr,
)
def test_the_cause_is_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_long_cause_is_cut() -> None:
    line = one_line(ValueError("x" * 10_000))
    assert len(line) < 350
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("seen", "memory_kill", "kind"),
    [
        ("The actor died unexpectedly before finishing this task.", False, "node_lost"),
        ("", False, "node_lost"),
        ("", True, "out_of_memory"),
        ("Worker was killed due to memory pressure (OOM)", False, "out_of_memory"),
        ("ray.exceptions.OutOfMemoryError: Task was killed", False, "out_of_memory"),
    ],
)
def test_memory_is_looked_for_before_a_lost_node_is_concluded(
    seen: str, memory_kill: bool, kind: FailureKind
) -> None:
    failure = failure_of_lost_worker(seen, memory_kill)
    assert failure.kind == kind
    assert failure.cause.startswith("the worker died")
    assert "\n" not in failure.cause


# -- the kernel's count of kills for memory -------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        (
            {
                "proc/self/cgroup": "0::/user.slice/orrery",
                "sys/fs/cgroup/user.slice/orrery/memory.events": "oom 9\noom_kill 3\n",
                "proc/vmstat": "oom_kill 7\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu,cpuacct:/a\n5:memory:/a/b\n",
                "sys/fs/cgroup/memory/a/b/memory.oom_control": "under_oom 0\noom_kill 2\n",
                "proc/vmstat": "oom_kill 7\n",
            },
            2,
        ),
        ({"proc/self/cgroup": "0::/elsewhere", "proc/vmstat": "nr_free 1\noom_kill 7\n"}, 7),
        ({"proc/self/cgroup": "nonsense", "proc/vmstat": "oom_kill 7\n"}, 7),
        ({"proc/vmstat": "nr_free 1\n"}, 0),
        ({}, 0),
    ],
    ids=["group", "group of version 1", "not mounted", "unreadable", "not counted", "no /proc"],
)
def test_kills_for_memory_are_counted_where_the_system_tells(
    files: dict[str, str], kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(
        "orchestrator.engine.failures.Path", lambda path: tmp_path / path.lstrip("/")
    )
    assert out_of_memory_kills() == kills
