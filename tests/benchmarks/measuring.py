"""How benchmarks time, tell and keep what they measure.

Machines that run tests are shared: a limit in seconds is held against the best of several runs, a
ratio against the median of pairs that were run in turn (A B A B).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.orchestrator.quick_study import environment

RESULTS = Path(__file__).parent / "results"
RECORD = "ORRERY_BENCH_RECORD"
"""Set to 1, results are kept in `results/`; otherwise they are only printed."""
_LIBRARIES = ("orrery", "ray", "mlflow", "msgspec", "pydantic", "pyarrow")


@dataclass(frozen=True)
class Spent:
    """What one run of a command took."""

    wall_s: float
    cpu_s: float
    """User and system time of the process and the children it waited for."""


def timed(words: Sequence[str], cwd: Path, runs: int) -> list[Spent]:
    """Runs a command several times to its end. Fails the test that calls it if the command does."""
    spent = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(
            words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300
        )
        wall_s = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent.append(Spent(wall_s, cpu_s))
    return spent


def within(runs: Sequence[Spent], limit_s: float) -> bool:
    """Whether the best run kept to the limit, by the clock or, on a busy machine, by CPU time."""
    return min(run.wall_s for run in runs) < limit_s or min(run.cpu_s for run in runs) < limit_s


def summary(runs: Sequence[Spent]) -> dict[str, float]:
    """Seconds: median and best by the clock, and the median of CPU time."""
    return {
        "median_s": statistics.median(run.wall_s for run in runs),
        "best_s": min(run.wall_s for run in runs),
        "cpu_median_s": statistics.median(run.cpu_s for run in runs),
    }


def tell(name: str, figures: Mapping[str, Any]) -> None:
    """Prints what was measured; keeps it as `results/<name>.json` if that was asked for."""
    rounded = _rounded(figures)
    print(f"\n{name}")
    for key, value in rounded.items():
        print(f"  {key}: {value}")
    if os.environ.get(RECORD) == "1":
        RESULTS.mkdir(exist_ok=True)
        content = json.dumps({"measured": rounded, "machine": machine()}, indent=1)
        (RESULTS / f"{name}.json").write_text(content + "\n")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "load_1min": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def with_peak_memory(code: str) -> list[str]:
    """The words of a Python process that says, as its last line of stderr, its peak RSS in KiB."""
    script = (
        "import atexit, os, resource\n"
        "atexit.register(lambda: os.write(2, b'\\n%d' % "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n" + code
    )
    return [sys.executable, "-c", script]


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
