from __future__ import annotations

import errno
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telemetry import (
    Emitter,
    Metrics,
    SpoolReader,
    TrialRun,
    Wake,
    decode,
    encode,
    fold,
    spool_path,
)
from telemetry.contracts import BatchMetrics, HostBaseline, HostSnapshot, SlotSnapshot
from workloads.contract import TrialEmitter


def steps_of(path: Path) -> list[int | None]:
    return [e.step for e in SpoolReader(path).read() if isinstance(e.payload, Metrics)]


def test_an_event_is_in_the_spool_when_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "spool" / "rank-0000.jsonl"
    emitter = Emitter(path, trial="t", attempt=0)
    emitter.metrics({"train/loss": 1}, step=1)
    emitter.context({"host_params": 3})
    emitter.trace("dense", {"h": (1, 2)}, step=1, reason="forced")
    kinds = [event.kind for event in SpoolReader(path).read()]
    assert kinds == ["mark", "metrics", "context", "trace"]
    emitter.close()
    assert [event.seq for event in SpoolReader(path).read()] == [0, 1, 2, 3, 4]


def test_a_torn_last_line_is_counted_and_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "rank-0000.jsonl"
    with Emitter(path, trial="t", attempt=0) as first:
        first.metrics({"a": 1}, step=1)
    with open(path, "ab") as file:
        file.write(b'{"v":1,"trial":"t","att')
    torn = SpoolReader(path)
    assert len(list(torn.read())) == 3
    assert torn.unreadable == 0  # it may still be in the writing
    with Emitter(path, trial="t", attempt=0) as second:
        second.metrics({"a": 2}, step=2)
    after = list(torn.read())
    assert torn.unreadable == 1
    assert [event.kind for event in after] == ["mark", "metrics", "mark"]
    assert [event.seq for event in after] == [3, 4, 5]
    assert after[0].payload.name == "resumed"  # type: ignore[union-attr]


class FullDisk:
    """Stands for `os.write` on a disk with `room` bytes left."""

    def __init__(self, room: int) -> None:
        self.room, self.write = room, os.write

    def __call__(self, handle: int, data: Any) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.write(handle, bytes(data)[: self.room])
        self.room -= taken
        return taken


def test_on_a_full_disk_events_wait_and_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rank-0000.jsonl"
    emitter = Emitter(path, trial="t", attempt=0, held_limit_bytes=2000, interval_s=60)
    disk = FullDisk(room=150)
    monkeypatch.setattr("telemetry.spool.os.write", disk)
    for step in range(30):
        emitter.metrics({"a": step}, step=step)
    emitter.trace("dense", {"too": "much"}, step=30)
    assert len(steps_of(path)) < 5
    assert emitter.counters.write_errors >= 1
    assert emitter.counters.thinned == 1
    disk.room = 1 << 20
    emitter.flush()
    emitter.close()
    assert steps_of(path) == list(range(30))
    reader = SpoolReader(path)
    marks = [e.payload.name for e in reader.read() if e.kind == "mark"]  # type: ignore[union-attr]
    assert marks == ["started", "thinned", "closed"]
    assert reader.unreadable == 0
    assert sum("can't be written" in record.message for record in caplog.records) == 1


FILL_A_DISK = """
import subprocess, sys
from telemetry import Emitter, Metrics, SpoolReader
path = sys.argv[1] + "/rank-0000.jsonl"
emitter = Emitter(path, trial="t", attempt=0, interval_s=60)
for step in range(3000):
    emitter.metrics({"a": step / 7}, step=step)
assert emitter.counters.write_errors >= 1, "the disk never was full"
events = list(SpoolReader(path).read())
assert 10 < len(events) < 2000, len(events)
subprocess.run(["mount", "-o", "remount,size=8m", sys.argv[1]], check=True)
emitter.close()
reader = SpoolReader(path)
events = list(reader.read())
assert [e.seq for e in events] == list(range(3002))
assert [e.payload.values["a"] for e in events[1:-1]] == [step / 7 for step in range(3000)]
assert reader.unreadable == 0
"""


def test_a_real_disk_that_is_full_costs_one_warning_and_no_event(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=128k tmpfs {tmp_path}"
    if shutil.which("unshare") is None or _in_a_namespace(mount).returncode:
        pytest.skip("this process may not mount: a small file system can't be made")
    done = _in_a_namespace(f'{mount} && exec {sys.executable} -c "$0" {tmp_path}', FILL_A_DISK)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("can't be written") == len(done.stderr.splitlines()) == 1


def _in_a_namespace(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell command with mounts of its own."""
    command = ["unshare", "--mount", "sh", "-c", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_spool_that_cannot_be_made_holds_everything(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file is in the way")
    path = tmp_path / "spool" / "rank-0000.jsonl"
    emitter = Emitter(path, trial="t", attempt=0, interval_s=60)
    emitter.metrics({"a": 1}, step=1)
    (tmp_path / "spool").unlink()
    emitter.close()
    assert steps_of(path) == [1]


def test_a_dead_collector_costs_one_warning(
    trial: TrialRun, emit: Callable[..., Emitter], caplog: pytest.LogCaptureFixture
) -> None:
    def gone(wake: Wake) -> None:
        raise RuntimeError("actor died")

    emitter = emit(trial, push=gone)
    for step in range(3):
        emitter.metrics({"a": 1.0}, step=step)
        emitter.flush()
    assert emitter.counters.push_errors == 3
    assert sum("can't be reached" in record.message for record in caplog.records) == 1
    assert steps_of(spool_path(trial.path / "attempt-0000", 0)) == [0, 1, 2]


def test_a_push_says_what_is_in_the_spool(trial: TrialRun, emit: Callable[..., Emitter]) -> None:
    wakes: list[Wake] = []
    emitter = emit(trial, push=wakes.append, interval_s=60)
    emitter.metrics({"a": 1.0}, step=0)
    emitter.flush()
    emitter.flush()
    assert wakes == [Wake(trial.identity, 0, 0, 1)]


def test_nothing_raises_into_training(trial: TrialRun, emit: Callable[..., Emitter]) -> None:
    class Broken:
        def __float__(self) -> float:
            raise RuntimeError("no")

    emitter = emit(trial)
    emitter.metrics({"a": "text", "b": 2, "c": Broken()}, step=1)  # type: ignore[dict-item]
    emitter.metrics(None, step=1)  # type: ignore[arg-type]
    emitter.metrics({"a": 1.0}, step="x")  # type: ignore[arg-type]
    emitter.context({"x": Broken()})
    emitter.trace("t", None, step=2)  # type: ignore[arg-type]
    emitter.close()
    emitter.metrics({"late": 1.0}, step=9)
    events = list(SpoolReader(spool_path(trial.path / "attempt-0000", 0)).read())
    values = [e.payload.values for e in events if isinstance(e.payload, Metrics)]
    assert values == [{"b": 2.0}]
    assert emitter.counters.errors >= 3


def test_the_quick_way_writes_what_the_contract_says(tmp_path: Path) -> None:
    path = tmp_path / "rank-0000.jsonl"
    with Emitter(path, trial='odd "name" é', attempt=3, rank=2) as emitter:
        emitter.metrics({"a/b": 1e-9, 'q"': 2, "null": 0.0, "é": 1e300}, step=-4)
        emitter.metrics({"a/b": 1e-9}, step=5)
        emitter.metrics({}, step=6)
        emitter.metrics({"a": 0.1}, step=7, epoch=0.5)
    lines = SpoolReader(path).lines()
    assert [encode(decode(line)) for line in lines] == lines
    assert steps_of(path) == [-4, 5, 6, 7]


def test_what_a_full_disk_held_at_the_end_is_written_when_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rank-0000.jsonl"
    emitter = Emitter(path, trial="t", attempt=0, interval_s=0.05)
    disk = FullDisk(room=10)
    monkeypatch.setattr("telemetry.spool.os.write", disk)
    emitter.metrics({"a": 1.0}, step=1)
    emitter.close()
    assert steps_of(path) == []
    disk.room = 1 << 20
    deadline = time.monotonic() + 5
    while len(SpoolReader(path).lines()) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [event.kind for event in SpoolReader(path).read()] == ["mark", "metrics", "mark"]


def test_it_is_what_workloads_see(tmp_path: Path) -> None:
    emitter: TrialEmitter = Emitter(tmp_path / "rank-0000.jsonl", trial="t", attempt=0)
    emitter.metrics({"a": None}, step=1, epoch=0.5)


def test_threads_that_record_at_once_lose_nothing_and_keep_the_order(tmp_path: Path) -> None:
    path = tmp_path / "rank-0000.jsonl"
    with Emitter(path, trial="t", attempt=0) as emitter:

        def record(thread: int) -> None:
            for step in range(500):
                emitter.metrics({f"m{thread}": 1.0 * step}, step=step, epoch=0.5)

        threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = list(SpoolReader(path).read())
    assert [event.seq for event in events] == list(range(2002))
    counts = Counter(
        key for e in events if isinstance(e.payload, Metrics) for key in e.payload.values
    )
    assert counts == {f"m{number}": 500 for number in range(4)}


def test_a_log_handler_that_records_events_is_not_locked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitter = Emitter(tmp_path / "rank-0000.jsonl", trial="t", attempt=0, interval_s=60)

    class Recording(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            emitter.metrics({"warnings": 1.0}, step=1)

    disk = FullDisk(room=0)
    monkeypatch.setattr("telemetry.spool.os.write", disk)
    logger, handler = logging.getLogger("telemetry.emitter"), Recording()
    logger.addHandler(handler)
    try:
        emitter.metrics({"a": 1.0}, step=0)
    finally:
        logger.removeHandler(handler)
    disk.room = 1 << 20
    emitter.close()
    assert steps_of(tmp_path / "rank-0000.jsonl") == [0, 1]


def test_a_metric_that_is_text_is_left_out_even_if_it_reads_as_a_number(tmp_path: Path) -> None:
    path = tmp_path / "rank-0000.jsonl"
    emitter = Emitter(path, trial="t", attempt=0, interval_s=60)
    emitter.metrics({"a": "3.5", "b": 2, "c": b"1"}, step=1)  # type: ignore[dict-item]
    emitter.close()
    values = [e.payload.values for e in SpoolReader(path).read() if isinstance(e.payload, Metrics)]
    assert values == [{"b": 2.0}]
    assert emitter.counters.errors == 2


def test_a_contract_that_no_reader_would_take_is_counted_and_not_spooled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rank-0000.jsonl"
    emitter = Emitter(path, trial="t", attempt=0, interval_s=60)
    wrong: list[Any] = [
        HostSnapshot(epoch=1.5),  # type: ignore[arg-type]
        HostSnapshot(epoch=1, host_params=1e6),  # type: ignore[arg-type]
        HostSnapshot(epoch=1, host_params=np.float32(3.5)),  # type: ignore[arg-type]
        SlotSnapshot(slot_id="mid", stage="Training"),  # type: ignore[arg-type]
        BatchMetrics(epoch=1, batch_idx=0),  # a part of a trace
        None,
    ]
    for contract in wrong:
        emitter.snapshot(contract, step=1)
    emitter.snapshot(HostSnapshot(epoch=2), step=2)
    emitter.close()
    assert emitter.counters.errors == len(wrong)
    reader = SpoolReader(path)
    assert [e.kind for e in reader.read()] == ["mark", "host_snapshot", "mark"]
    assert reader.unreadable == 0
    assert sum("could not be recorded" in record.message for record in caplog.records) == 1


def test_the_numbers_of_arrays_and_tensors_survive_in_a_contract(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "rank-0000.jsonl"
    given = HostSnapshot(
        epoch=np.int64(3),
        train_loss=np.float32("nan"),  # type: ignore[arg-type]
        val_loss=torch.tensor(float("inf")),  # type: ignore[arg-type]
        train_accuracy=-math.inf,
        seed_grad_norms={"mid": np.float64("nan"), "late": np.float32(0.5)},  # type: ignore[dict-item]
    )
    with Emitter(path, trial="t", attempt=0, interval_s=60) as emitter:
        emitter.snapshot(given, step=1)
    (read,) = [e.payload for e in SpoolReader(path).read() if isinstance(e.payload, HostSnapshot)]
    assert math.isnan(read.train_loss or 0.0)
    assert (read.epoch, read.val_loss, read.train_accuracy) == (3, math.inf, -math.inf)
    assert math.isnan(read.seed_grad_norms["mid"] or 0.0)
    assert read.seed_grad_norms["late"] == 0.5
    assert read.val_accuracy is None


def test_a_snapshot_without_a_step_is_counted_and_gives_no_row(
    trial: TrialRun, emit: Callable[..., Emitter], caplog: pytest.LogCaptureFixture
) -> None:
    emitter = emit(trial)
    for epoch in range(3):
        emitter.snapshot(HostSnapshot(epoch=epoch, val_loss=1.0 * epoch))
    emitter.snapshot(HostBaseline(initial_loss=2.0))
    assert emitter.counters.errors == 3
    assert fold(trial.path) == []
    assert [r.message for r in caplog.records if "HostSnapshot needs a step" in r.message]
    assert len(caplog.records) == 1


RECORDS_IN_A_SIGNAL_HANDLER = """
import signal, sys, time
from telemetry import Emitter, Metrics, SpoolReader
from telemetry.contracts import HostSnapshot
path = sys.argv[1]
emitter = Emitter(path, trial="t", attempt=0, interval_s=60)
within = 0

def record(number, frame):
    global within
    within += 1
    kind = (emitter.metrics, emitter.trace)[within % 2]
    kind(*(({"handler": 1.0 * within},) if within % 2 == 0 else ("h", {"n": within})), step=-within)

signal.signal(signal.SIGALRM, record)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
made, end = 0, time.monotonic() + 20
while within < 3000 and time.monotonic() < end:
    emitter.metrics({"loss": 1.0 * made}, step=made)
    emitter.snapshot(HostSnapshot(epoch=made, val_loss=1.0 * made), step=made)
    made += 1
signal.setitimer(signal.ITIMER_REAL, 0)
emitter.close()
events = list(SpoolReader(path).read(1 << 30))
assert sorted(e.seq for e in events) == list(range(2 + 2 * made + within))
assert emitter.counters.errors == 0
for event in events:
    if isinstance(event.payload, Metrics):
        ((key, value),) = event.payload.values.items()
        assert value == (event.step if key == "loss" else -event.step), event
assert within > 100, within
"""


def test_a_signal_handler_that_records_at_any_moment_takes_a_number_of_its_own(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", RECORDS_IN_A_SIGNAL_HANDLER, str(tmp_path / "spool.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
