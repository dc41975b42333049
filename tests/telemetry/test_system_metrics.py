"""System metrics: of the trial's own processes, on a grid of seconds, free of cost if short."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
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

SPIN = "import time\nwhile time.process_time() < {seconds}: pass"
"""Takes so many seconds of CPU time, however long they take."""
SPIN_AND_STAY = SPIN + "\nprint('spun', flush=True)\ninput()"


@dataclass
class Clock:
    """The time of day as a test tells it; the sampler's thread finds nothing due."""

    now_s: float = 1e12

    def __call__(self) -> float:
        return self.now_s


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
    clock = Clock()
    with emitter_in(tmp_path) as emitter, SystemMetrics(emitter, clock.now_s, clock=clock):
        (tmp_path / "written").write_bytes(os.urandom(2**20))
        subprocess.run([sys.executable, "-c", SPIN.format(seconds=0.4)], check=True)
        clock.now_s += 4.0
    ((step, values),) = samples(tmp_path).items()
    assert step == 10
    cpu_s = (values[CPU_PERCENT] or 0.0) / 100 * 4.0
    assert 0.38 < cpu_s < 1.4  # this process has waited for a child that spent more than that
    assert 1 < (values[MEMORY_MIB] or 0.0) < 100_000
    assert READ_MIB not in values or 0.0 <= (values[READ_MIB] or 0.0) < 1000
    assert WRITE_MIB not in values or 0.0 <= (values[WRITE_MIB] or 0.0) < 1000


def test_steps_are_seconds_since_the_first_attempt_on_a_grid_and_never_rewind(
    tmp_path: Path,
) -> None:
    clock = Clock()
    first_s = clock.now_s - 123.4  # an attempt before this one ran for two minutes
    with (
        emitter_in(tmp_path, attempt=1) as emitter,
        SystemMetrics(emitter, first_s, clock=clock) as metrics,
    ):
        for seconds in (5.0, 3.0, 1.7, 0.2, 9.9, -15.0, 30.5):
            clock.now_s += seconds
            metrics.sample()
        clock.now_s += 2.0
    # 128.4, 131.4, 133.1, 133.3, 143.2, back to 128.2, 158.7; the end at 160.7
    assert list(samples(tmp_path, attempt=1)) == [140, 150, 170]


def test_an_attempt_does_not_tell_of_the_interval_in_which_the_one_before_ended(
    tmp_path: Path,
) -> None:
    clock = Clock()
    first_s = clock.now_s
    for attempt in (0, 1):  # it ends after 14 s, and is taken up again a second later
        with (
            emitter_in(tmp_path, attempt=attempt) as emitter,
            SystemMetrics(emitter, first_s, clock=clock) as metrics,
        ):
            for _ in range(14):
                clock.now_s += 1.0
                metrics.sample()
        clock.now_s += 1.0
    assert list(samples(tmp_path, attempt=0)) == [10, 20]
    assert list(samples(tmp_path, attempt=1)) == [30]
    rows = [row for row in fold(tmp_path, ended=True) if row.key == CPU_PERCENT]
    assert [(row.attempt, row.step) for row in rows] == [(0, 10), (0, 20), (1, 30)]


def test_a_child_that_still_runs_counts(tmp_path: Path) -> None:
    clock = Clock()
    with (
        emitter_in(tmp_path) as emitter,
        SystemMetrics(emitter, clock.now_s, clock=clock) as metrics,
    ):
        child = subprocess.Popen(
            [sys.executable, "-c", SPIN_AND_STAY.format(seconds=0.4)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        clock.now_s += 10.0
        metrics.sample()
        child.communicate(b"\n")
    ((_, values),) = samples(tmp_path).items()
    assert (values[CPU_PERCENT] or 0.0) > 3.8


def test_ranks_meet_on_the_grid_and_are_summed(tmp_path: Path) -> None:
    clock = Clock()
    started_s = clock.now_s
    for rank in range(2):
        with (
            emitter_in(tmp_path, rank, 2) as emitter,
            SystemMetrics(emitter, started_s, clock=clock),
        ):
            clock.now_s += 1.1
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
    clock = Clock()
    with emitter_in(tmp_path) as emitter, SystemMetrics(emitter, clock.now_s, clock=clock):
        clock.now_s += 1.1
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
    clock = Clock()
    with (
        emitter_in(tmp_path) as emitter,
        SystemMetrics(emitter, clock.now_s, clock=clock) as metrics,
    ):
        clock.now_s += 11.0
        metrics.sample()
    assert samples(tmp_path) == {}
    assert metrics.due_s == math.inf
