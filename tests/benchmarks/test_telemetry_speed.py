"""What an event costs in the training thread, and how fast rows come into MLflow."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster import Resources
from telemetry import Emitter, MlflowSink, StudyRun, TrialEnd, TrialRun, Wake, start_collector
from tests.benchmarks.measuring import tell
from tests.benchmarks.producers import SCALARS, emit_until, write_until
from tests.orchestrator.quick_study import wait_until

SECONDS = float(os.environ.get("ORRERY_BENCH_SECONDS", "60"))
"""How long each way of writing is measured."""
PRODUCERS = 16
EVENTS_PER_S = 250.0
"""Of each producer: together they make more rows than MLflow takes."""
LEAST_OF_BARE_WRITER = 0.8
EVENTS = 100_000
ROUNDS = 5
LIMIT_US = 5.0


# -- an event -------------------------------------------------------------------------------------


def median_us(call: Callable[[int], object]) -> float:
    """Microseconds that a call takes, without those of the clock."""
    clock = time.perf_counter_ns
    taken, clocks = [], []
    for step in range(EVENTS):
        start = clock()
        call(step)
        taken.append(clock() - start)
        start = clock()
        clocks.append(clock() - start)
    return (statistics.median(taken) - statistics.median(clocks)) / 1000


def test_emitting_a_scalar_takes_five_microseconds(tmp_path: Path) -> None:
    wakes: list[Wake] = []
    emitter = Emitter(
        tmp_path / "rank-0000.jsonl", trial="4c5415609b1d2e7f", attempt=0, push=wakes.append
    )
    handle = os.open(tmp_path / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = b"x" * 158
    emit, write = [], []
    for _ in range(ROUNDS):
        emit.append(median_us(lambda step: emitter.metrics({"train/loss": step / 7}, step=step)))
        write.append(median_us(lambda step: os.write(handle, line)))
    emitter.close()
    os.close(handle)
    assert wakes, "nothing was pushed"
    tell(
        "emit-scalar",
        {
            "events": EVENTS,
            "median_us_by_round": emit,
            "best_median_us": min(emit),
            "bare_write_us_by_round": write,
            "limit_us": LIMIT_US,
        },
    )
    assert min(emit) <= LIMIT_US


# -- into MLflow ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A store of its own for one way of writing, and the file that ends it."""

    folder: Path
    database: Path

    @classmethod
    def make(cls, folder: Path, schema: Path) -> Place:
        folder.mkdir()
        database = folder / "mlflow.db"
        shutil.copy(schema, database)
        MlflowSink(f"sqlite:///{database}").prepare()  # write-ahead, as the collector's
        return cls(folder, database)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def stop(self) -> Path:
        return self.folder / "stop"

    def rows(self) -> int:
        with closing(sqlite3.connect(self.database, timeout=60)) as connection:
            return int(connection.execute("SELECT count(*) FROM metrics").fetchone()[0])

    def rate(self) -> float:
        """Rows a second, from when the first are there."""
        wait_until(self.rows, "the first rows are written", every_s=0.5)
        time.sleep(2.0)
        first, start = self.rows(), time.perf_counter()
        time.sleep(SECONDS)
        rate = (self.rows() - first) / (time.perf_counter() - start)
        self.stop.touch()
        return rate

    def trials(self) -> list[TrialRun]:
        made = []
        for number in range(PRODUCERS):
            identity = f"{number:016x}"
            folder = self.folder / "trials" / identity
            folder.mkdir(parents=True)
            made.append(TrialRun(identity, str(folder), arm="a", replicate=number))
        return made


def through_collector(place: Place) -> dict[str, Any]:
    import ray

    study = StudyRun("bench", "bench-0000", folder=str(place.folder / "study"))
    client = start_collector(MlflowSink(place.uri), study)
    trials = place.trials()
    for trial in trials:
        client.register_trial(trial)
    remote = ray.remote(num_cpus=0)(emit_until)
    pending = [
        remote.remote(place.stop, t.path, t.identity, EVENTS_PER_S, client.new_push())
        for t in trials
    ]
    rate = place.rate()
    emitted = ray.get(pending)
    start = time.perf_counter()
    for trial in trials:
        client.finish_trial(trial.identity, TrialEnd("done", 1_700_000_000_000))
    report = client.drain(SECONDS * 15)  # what was emitted faster than MLflow takes it
    drain_s = time.perf_counter() - start
    client.stop()
    assert report.left == {}
    assert report.counters.refused == report.counters.absences == 0
    assert place.rows() == sum(emitted)
    return {
        "rows_per_s": rate,
        "emitted_rows_per_s": PRODUCERS * EVENTS_PER_S * SCALARS,
        "behind_s": drain_s,
        "errors": report.counters.refused + report.counters.absences,
    }


def bare_writer(place: Place) -> dict[str, Any]:
    """One process that has its rows at hand and writes a thousand a call, beside the producers."""
    import ray

    remote = ray.remote(num_cpus=0)(emit_until)
    producers = [
        remote.remote(place.stop, t.path, t.identity, EVENTS_PER_S, None) for t in place.trials()
    ]
    writer = ray.remote(num_cpus=0)(write_until).remote(place.stop, place.uri, "0", 1000)
    rate = place.rate()
    ray.get(producers)
    _, errors, last = ray.get(writer)
    return {"rows_per_s": rate, "errors": errors, "last_error": last}


def contenders(place: Place, batch: int) -> dict[str, Any]:
    """Sixteen processes that write for themselves."""
    import ray

    remote = ray.remote(num_cpus=0)(write_until)
    pending = [remote.remote(place.stop, place.uri, "0", batch) for _ in range(PRODUCERS)]
    rate = place.rate()
    found = ray.get(pending)
    return {
        "rows_per_s": rate,
        "errors": sum(errors for _, errors, _ in found),
        "last_error": next((last for *_, last in found if last), ""),
    }


@pytest.mark.timeout(1800)
def test_one_collector_writes_nearly_as_fast_as_a_bare_writer(
    tmp_path: Path, mlflow_schema: Path, ray_session: Resources
) -> None:
    def place(name: str) -> Place:
        return Place.make(tmp_path / name, mlflow_schema)

    bare = bare_writer(place("bare"))
    ours = through_collector(place("collector"))
    each = {
        "log_metric": contenders(place("log_metric"), 1),
        "log_batch": contenders(place("log_batch"), 100),
    }
    ratio = ours["rows_per_s"] / bare["rows_per_s"]
    tell(
        "rows-into-mlflow",
        {
            "seconds_each": SECONDS,
            "producers": PRODUCERS,
            "through_the_collector": ours,
            "bare_log_batch_1000": bare,
            "ratio_to_bare": ratio,
            "sixteen_log_metric": each["log_metric"],
            "sixteen_log_batch_100": each["log_batch"],
        },
    )
    assert ratio >= LEAST_OF_BARE_WRITER
