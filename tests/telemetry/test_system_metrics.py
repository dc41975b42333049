"""System metrics: of the trial's own processes, on a grid of seconds, free of cost if short."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from telemetry import Emitter, Metrics, SpoolReader, fold, spool_path
from telemetry.nvidia import GpuUse, gpu_use
from telemetry.system_metrics import (
    CPU_PERCENT,
    GPU_MEMORY_MIB,
    MEMORY_MIB,
    READ_MIB,
    SYSTEM_REDUCERS,
    WRITE_MIB,
    SystemMetrics,
)

SPIN = "import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"


def emitter_in(folder: Path, rank: int = 0, ranks: int = 1, attempt: int = 0) -> Emitter:
    return Emitter(
        spool_path(folder / f"attempt-{attempt:04d}", rank),
        trial="t",
        attempt=attempt,
        rank=rank,
        ranks=ranks,
        reducers=SYSTEM_REDUCERS,
    )


def samples(folder: Path, rank: int = 0, attempt: int = 0) -> dict[int, dict[str, float | None]]:
    """Step -> values, as they stand in the spool."""
    reader = SpoolReader(spool_path(folder / f"attempt-{attempt:04d}", rank))
    return {
        event.step or 0: dict(event.payload.values)
        for event in reader.read()
        if isinstance(event.payload, Metrics)
    }


def test_a_short_trial_is_not_sampled(tmp_path: Path) -> None:
    with emitter_in(tmp_path) as emitter, SystemMetrics(emitter, time.time()):
        pass
    assert samples(tmp_path) == {}


def test_many_short_trials_share_one_thread(tmp_path: Path) -> None:
    with emitter_in(tmp_path) as emitter:
        for _ in range(20):
            with SystemMetrics(emitter, time.time()):
                pass
    named = [thread for thread in threading.enumerate() if thread.name == "system-metrics"]
    assert len(named) == 1


def test_work_of_the_trial_and_its_children_is_counted_and_what_was_before_is_not(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-c", SPIN.format(seconds=1.5)], check=True)
    started_s = time.time()
    with emitter_in(tmp_path) as emitter, SystemMetrics(emitter, started_s):
        (tmp_path / "written").write_bytes(os.urandom(2**20))
        subprocess.run([sys.executable, "-c", SPIN.format(seconds=1.5)], check=True)
    elapsed_s = time.time() - started_s
    ((step, values),) = samples(tmp_path).items()
    assert step == 10
    cpu_s = (values[CPU_PERCENT] or 0.0) / 100 * elapsed_s
    assert 0.2 < cpu_s < elapsed_s + 0.5  # this process has spent more than that before
    assert 1 < (values[MEMORY_MIB] or 0.0) < 100_000
    assert READ_MIB not in values or 0.0 <= (values[READ_MIB] or 0.0) < 1000
    assert WRITE_MIB not in values or 0.0 <= (values[WRITE_MIB] or 0.0) < 1000


def test_steps_are_seconds_since_the_first_attempt_on_a_grid_and_never_rewind(
    tmp_path: Path,
) -> None:
    first_s = time.time() - 123.4  # an attempt before this one ran for two minutes
    with emitter_in(tmp_path, attempt=1) as emitter, SystemMetrics(emitter, first_s, 1.0):
        child = subprocess.Popen([sys.executable, "-c", SPIN.format(seconds=2.5)])
        time.sleep(3.2)
        child.wait()
    found = samples(tmp_path, attempt=1)
    assert max(values[CPU_PERCENT] or 0.0 for values in found.values()) < 400
    assert (found[min(found)][CPU_PERCENT] or 0.0) > 10, "a child that still runs counts"
    steps = sorted(found)
    assert steps[0] >= 124
    assert all(step < 140 for step in steps)
    assert len(steps) == len(set(steps)) >= 2


def test_ranks_meet_on_the_grid_and_are_summed(tmp_path: Path) -> None:
    started_s = time.time()
    for rank in range(2):
        with emitter_in(tmp_path, rank, 2) as emitter, SystemMetrics(emitter, started_s):
            time.sleep(1.1)
    rows = {row.key: row for row in fold(tmp_path, ended=True)}
    each = [samples(tmp_path, rank)[10][MEMORY_MIB] or 0.0 for rank in range(2)]
    assert rows[MEMORY_MIB].value == pytest.approx(sum(each))
    assert rows[MEMORY_MIB].ranks == 2


def test_what_the_machine_does_not_tell_has_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu_use(set(), 0) is None
    monkeypatch.setattr(
        "telemetry.system_metrics.gpu_use", lambda pids, since: GpuUse(memory_mib=512.0)
    )
    with emitter_in(tmp_path) as emitter, SystemMetrics(emitter, time.time()):
        time.sleep(1.1)
    (values,) = samples(tmp_path).values()
    assert values[GPU_MEMORY_MIB] == 512.0
    assert None not in values.values()
    assert "sys/gpu_percent" not in values


def test_trouble_ends_the_metrics_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(pids: object, since: int) -> None:
        raise RuntimeError("the driver went away")

    monkeypatch.setattr("telemetry.system_metrics.gpu_use", broken)
    with emitter_in(tmp_path) as emitter, SystemMetrics(emitter, time.time()) as metrics:
        time.sleep(1.1)
        metrics.sample()
    assert samples(tmp_path) == {}
    assert metrics.due_s == math.inf
