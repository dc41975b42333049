"""Processes are killed in the middle of runs that emit known values; then rows are counted.

Afterwards every (run, key, step) is in MLflow exactly once, with its value, and the Parquet file
holds every event of every attempt.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster import Resources
from orchestrator.home import Home
from telemetry import (
    Emitter,
    Event,
    Metrics,
    MlflowSink,
    RetryingSink,
    SpoolReader,
    StudyRun,
    TrialEnd,
    TrialRun,
    read_events,
    spools_of,
    start_collector,
)
from tests.orchestrator.quick_study import (
    computed,
    driver,
    environment,
    mlflow_rows,
    orrery,
    processes_naming,
    quick_study,
    wait_until,
    write_study,
)

Emit = Callable[..., Emitter]
AWAY_S = 20.0
"""Longer than the client tries by itself, which is some seconds."""
Place = tuple[str, int, int, int, int]


def place(event: Event) -> Place:
    return (event.trial, event.attempt, event.rank, event.seq, event.time_ms)


def spooled(trial_folder: Path) -> Counter[Place]:
    """What stands in a trial's spools."""
    readers = [SpoolReader(spool.path) for spool in spools_of(trial_folder)]
    return Counter(place(event) for reader in readers for event in reader.read(1 << 30))


def archived(trial_folder: Path) -> Counter[Place]:
    return Counter(map(place, read_events(trial_folder / "events.parquet")))


# -- a tracking server ----------------------------------------------------------------------------


class Server:
    """A real `mlflow server` on a store in SQLite, that can be killed and started again."""

    def __init__(self, database: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        store, artifacts = f"sqlite:///{self._database}", self._database.with_name("artifacts")
        words = ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
        words += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(MLFLOW_DISABLE_TELEMETRY="true"),
            start_new_session=True,
        )
        wait_until(self._answers, "the tracking server answers")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def emitting(emitter: Emitter, every_s: float) -> Iterator[None]:
    """Meanwhile, a known value at each step, from 0 on; the emitter is closed at the end."""
    stop = threading.Event()

    def emit() -> None:
        step = 0
        while not stop.wait(every_s):
            emitter.metrics({"a": step / 7, "b": -1.0 * step}, step=step)
            step += 1

    thread = threading.Thread(target=emit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        emitter.close()


@pytest.mark.slow
def test_a_tracking_server_that_is_killed_costs_no_row_and_doubles_none(
    ray_session: Resources,
    store: Any,
    study: StudyRun,
    trial: TrialRun,
    emit: Emit,
) -> None:
    server = Server(store.path)
    server.start()
    sink = RetryingSink(MlflowSink(server.uri), longest_wait_s=1.0)
    collector = start_collector(sink, study, interval_s=0.05, settle_s=0.0)
    try:
        collector.register_trial(trial)
        emitter = emit(trial, push=collector.new_push(), interval_s=0.05)
        with emitting(emitter, every_s=0.02):
            wait_until(store.rows, "rows arrive")
            server.kill()
            seen = store.rows()
            time.sleep(AWAY_S)
            assert store.rows() == seen
            server.start()
            wait_until(lambda: len(store.rows()) > len(seen), "rows arrive again")
        steps = emitter.emitted - 2
        collector.finish_trial(trial.identity, TrialEnd("done", 1_700_000_000_000))
        report = collector.drain(120)
        assert report.left == {}
        assert report.counters.absences > 0
    finally:
        collector.stop()
        server.kill()
    expected = [("a", step, step / 7, 0) for step in range(steps)]
    assert store.rows() == expected + [("b", step, -1.0 * step, 0) for step in range(steps)]
    assert len(store.runs()) == 2
    assert sorted(seq for *_, seq, _ in archived(trial.path)) == list(range(steps + 2))


# -- a whole run ----------------------------------------------------------------------------------

STEPS = 24


class Case:
    """A study of four trials, two at a time, each step of which is known."""

    def __init__(self, folder: Path, home: Home) -> None:
        self.folder, self.home, self.log = folder, home, folder / "steps.log"
        base = {"steps": STEPS, "step_s": 0.15, "log": str(self.log), "metrics": 2}
        mapping = quick_study(seeds=[0, 1], base=base, resources={"max_concurrent": 2})
        self.words = ["run", str(write_study(folder, mapping)), "--home", str(home.root)]

    def place(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def in_the_middle(self) -> bool:
        """Some trial is half through with steps left, and MLflow has some rows of the study."""
        reached = Counter(c.identity for c in computed(self.log))
        half = any(STEPS // 2 <= steps <= STEPS - STEPS // 5 for steps in reached.values())
        return half and bool(mlflow_rows(self.home).steps("train/x"))

    def spooled(self) -> Counter[Place]:
        total: Counter[Place] = Counter()
        for folder in self.home.trials.iterdir():
            total += spooled(folder)
        return total

    def archived(self) -> Counter[Place]:
        total: Counter[Place] = Counter()
        for folder in self.home.trials.iterdir():
            total += archived(folder)
        return total

    def holds_everything(self, before: Counter[Place]) -> None:
        """Each row is there once with the first attempt's value; no event is missing."""
        rows = mlflow_rows(self.home)
        assert set(rows.runs_per_trial().values()) == {1}
        assert len(rows.runs_per_trial()) == 4
        assert rows.doubled_rows() == []
        first: dict[tuple[str, str, int], float | None] = {}
        for folder in self.home.trials.iterdir():
            events = read_events(folder / "events.parquet")
            for event in sorted(events, key=lambda e: (e.attempt, e.seq)):
                if isinstance(event.payload, Metrics) and event.step is not None:
                    for key, value in event.payload.values.items():
                        first.setdefault((event.trial, key, event.step), value)
        found = {
            (trial, key, step): value
            for trial, key, step, value in rows.ask(
                "SELECT t.value, m.key, m.step, m.value FROM metrics m "
                "JOIN tags t ON t.run_uuid = m.run_uuid WHERE t.key = 'orrery.trial' "
                "AND m.key NOT LIKE 'final/%' AND m.key NOT LIKE 'best/%'"
            )
        }
        assert found == first
        assert sum(key == "train/x" for _, key, _ in found) == 4 * STEPS
        kept = self.archived()
        assert kept >= before, "an event of a killed attempt is missing"
        assert kept >= self.spooled()
        assert set(kept.values()) == {1}
        trained = {(name, attempt) for name, attempt, *_ in kept}
        assert trained >= {(c.identity, c.attempt) for c in computed(self.log)}


@pytest.fixture
def case(tmp_path: Path, mlflow_home: Home) -> Case:
    return Case(tmp_path, mlflow_home)


def the_collector_of(running: psutil.Process) -> psutil.Process | None:
    """The collector's process among a driver's."""
    for child in running.children(recursive=True):
        try:
            if "ray::Collector" in " ".join(child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


@pytest.mark.slow
def test_a_collector_that_is_killed_during_a_run_is_replaced_and_nothing_is_lost(
    case: Case,
) -> None:
    with driver(*case.words, cwd=case.place("first")) as running:
        running.wait_until(case.in_the_middle, "the study is in the middle")
        found = the_collector_of(psutil.Process(running.process.pid))
        assert found is not None
        before = case.spooled()
        found.kill()
        assert running.end() == 0, running.err
    case.holds_everything(before)


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_no_event_and_the_next_doubles_no_row(case: Case) -> None:
    with driver(*case.words, cwd=case.place("first")) as first:
        first.wait_until(case.in_the_middle, "the study is in the middle")
        first.process.kill()
        first.end()
    wait_until(lambda: not processes_naming(str(case.folder / "first")), "its processes are gone")
    before = case.spooled() + Counter(
        place(event)
        for path in case.home.trials.glob("*/events.parquet")
        for event in read_events(path)
    )
    assert before
    again = orrery(*case.words, cwd=case.folder)
    assert again.returncode == 0, again.stderr
    case.holds_everything(Counter(dict.fromkeys(before, 1)))
    assert {attempt for _, attempt, *_ in case.archived()} == {0, 1}
