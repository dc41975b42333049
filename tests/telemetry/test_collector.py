from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cluster import Resources
from telemetry import (
    Collector,
    Emitter,
    MlflowSink,
    Row,
    SinkError,
    SinkUnavailableError,
    StudyRun,
    TrialEnd,
    TrialRun,
    publish_study,
    read_events,
    spool_path,
    start_collector,
)

Emit = Callable[..., Emitter]
QUICK: dict[str, Any] = {"interval_s": 0.02, "settle_s": 0.0}


class Memory:
    """A sink in memory that can be away, or refuse a trial."""

    def __init__(self) -> None:
        self.away = False
        self.refuses: set[str] = set()
        self.rows: dict[tuple[str, str, int], float | None] = {}
        self.ends: dict[str, TrialEnd] = {}
        self.studies: list[StudyRun] = []

    def _check(self) -> None:
        if self.away:
            raise SinkUnavailableError("away")

    def prepare(self) -> None:
        self._check()

    def store_id(self) -> str:
        return "memory"

    def write_study(self, study: StudyRun) -> str:
        self._check()
        self.studies.append(study)
        return "parent"

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        self._check()
        if trial.identity in self.refuses:
            raise SinkError("refused")
        for row in rows:
            self.rows[trial.identity, row.key, row.step] = row.value
        if end is not None:
            self.ends[trial.identity] = end
        return f"run-{trial.identity}"

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        self._check()


@pytest.fixture
def collect(study: StudyRun) -> Iterator[Callable[..., Collector]]:
    made: list[Collector] = []

    def start(sink: Any, **options: Any) -> Collector:
        made.append(Collector(sink, study, **{**QUICK, **options}))
        return made[-1]

    yield start
    for collector in made:
        collector.stop()


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_push_brings_rows_to_the_sink_while_the_trial_runs(
    trial: TrialRun, emit: Emit, collect: Callable[..., Collector]
) -> None:
    sink = Memory()
    collector = collect(sink, poll_s=1000)
    collector.register_trial(trial)
    until(lambda: collector.counters().pushes == 0 and sink.studies)
    time.sleep(0.1)
    emitter = emit(trial, push=collector.push)
    emitter.metrics({"a": 1.5}, step=1)
    emitter.flush()
    until(lambda: sink.rows)
    assert sink.rows == {(trial.identity, "a", 1): 1.5}


def test_drain_writes_the_end_and_archives_the_events(
    trial: TrialRun, end: TrialEnd, emit: Emit, collect: Callable[..., Collector]
) -> None:
    sink = Memory()
    collector = collect(sink, settle_s=1000)
    collector.finish_trial(trial.identity, end)  # told in the wrong order
    emitter = emit(trial, push=collector.push)
    emitter.metrics({"a": 1.5}, step=1)
    emitter.close()
    collector.register_trial(trial)
    report = collector.drain(10)
    assert report.left == {}
    assert report.counters.rows == 3
    assert report.counters.trials_complete == report.counters.archived == 1
    assert sink.ends == {trial.identity: end}
    assert (trial.path / "events.parquet").exists()
    assert not spool_path(trial.path / "attempt-0000", 0).exists()


def test_an_absent_sink_holds_nothing_up_and_loses_nothing(
    trial: TrialRun, end: TrialEnd, emit: Emit, collect: Callable[..., Collector]
) -> None:
    sink = Memory()
    sink.away = True
    collector = collect(sink)
    collector.register_trial(trial)
    emitter = emit(trial, push=collector.push)
    for step in range(5):
        emitter.metrics({"a": step}, step=step)
    emitter.close()
    until(lambda: (trial.path / "rows.jsonl").exists())
    collector.finish_trial(trial.identity, end)
    assert "absent" in collector.drain(0.3).left[trial.identity]
    sink.away = False
    assert collector.drain(10).left == {}
    assert len(sink.rows) == 7
    assert collector.counters().absences > 0


def test_a_refused_trial_is_named_and_the_others_go_on(
    trial: TrialRun, end: TrialEnd, tmp_path: Path, collect: Callable[..., Collector]
) -> None:
    sink = Memory()
    sink.refuses.add(trial.identity)
    collector = collect(sink)
    (tmp_path / "other").mkdir()
    other = msgspec.structs.replace(trial, identity="77", folder=str(tmp_path / "other"))
    for one in (trial, other):
        collector.register_trial(one)
        collector.finish_trial(one.identity, end)
    report = collector.drain(10)
    assert report.left == {trial.identity: "refused"}
    assert set(sink.ends) == {"77"}


def test_a_new_collector_takes_over_from_the_journal(
    trial: TrialRun, end: TrialEnd, emit: Emit, tmp_path: Path, collect: Callable[..., Collector]
) -> None:
    sink = Memory()
    sink.away = True
    journal = str(tmp_path / "journal.jsonl")
    first = collect(sink, journal=journal)
    first.register_trial(trial)
    emit(trial).metrics({"a": 1.0}, step=1)
    first.finish_trial(trial.identity, end)
    first.stop()
    sink.away = False
    with open(journal, "ab") as file:
        file.write(b'{"trial":{"iden')
    second = collect(sink, journal=journal)
    assert second.drain(10).left == {}
    assert sink.ends == {trial.identity: end}
    assert second.counters().restarts == 1
    assert not Path(journal).exists()


def test_the_studys_own_run_is_brought_up_to_date(
    study: StudyRun, collect: Callable[..., Collector]
) -> None:
    sink = Memory()
    collector = collect(sink)
    until(lambda: sink.studies == [study])
    done = msgspec.structs.replace(study, state="done", note="# Verdict")
    collector.update_study(done)
    assert collector.drain(10).left == {}
    assert sink.studies == [study, done]


def test_a_killed_collector_actor_loses_and_doubles_nothing(
    ray_session: Resources,
    sink: MlflowSink,
    store: Any,
    study: StudyRun,
    trial: TrialRun,
    end: TrialEnd,
    emit: Emit,
) -> None:
    import ray

    collector = start_collector(sink, study, interval_s=0.05, settle_s=0.0)
    collector.register_trial(trial)
    emitter = emit(trial, push=collector.new_push(), interval_s=0.05)

    def emit_steps(first: int) -> None:
        for step in range(first, first + 200):
            emitter.metrics({"a": step / 7, "b": math.nan}, step=step)
            time.sleep(0.001)

    emit_steps(0)
    until(lambda: store.rows(), 60)
    pid = ray.get(collector.actor.ping.remote())
    emit_steps(200)
    os.kill(pid, signal.SIGKILL)
    emit_steps(400)
    emitter.close()
    collector.finish_trial(trial.identity, end)
    report = collector.drain(60)
    assert report.left == {}
    assert report.counters.restarts == 1
    assert ray.get(collector.actor.ping.remote()) != pid
    collector.stop()
    rows = store.rows()
    assert len(rows) == len({row[:2] for row in rows}) == 1200 + 2
    assert {row[2] for row in rows if row[0] == "a"} == {step / 7 for step in range(600)}
    assert publish_study(study, [(trial, end)], sink).complete == 1
    assert len(store.runs()) == 2
    archived = [event.seq for event in read_events(trial.path / "events.parquet")]
    assert sorted(archived) == list(range(602))
