"""From files into a real MLflow store: one run per trial, one row per (key, step)."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mlflow import MlflowClient

from telemetry import (
    Emitter,
    MlflowSink,
    RetryingSink,
    Row,
    SinkUnavailableError,
    StudyRun,
    TrialEnd,
    TrialFold,
    TrialPublication,
    TrialRun,
    publish_study,
    rebuild_rows,
    run_ids,
    spool_path,
)
from telemetry.filesystem import locked

Emit = Callable[..., Emitter]


def test_a_finished_trial_is_one_run_with_all_it_measured(
    sink: MlflowSink,
    store: Any,
    study: StudyRun,
    trial: TrialRun,
    end: TrialEnd,
    emit: Emit,
    tmp_path: Path,
) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "curve.txt").write_text("plot")
    emitter = emit(trial)
    for step in range(3):
        emitter.metrics({"train/loss": 1.0 / (step + 1), "eval/f1@3": None}, step=step)
    emitter.metrics({"eval/f1@3": 0.0, "train/grad": math.nan, "train/x": math.inf}, step=3)
    ended = msgspec.structs.replace(
        end, artifacts=str(tmp_path / "plots"), attempts=2, resumed_at=1
    )
    report = publish_study(study, [(trial, ended)], sink, artifacts=tmp_path / "plots")
    assert (report.rows, report.written, report.left) == (8, 1, {})

    client = MlflowClient(sink.tracking_uri)
    experiment = client.get_experiment_by_name("lora-sweep")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent, child = found["lora-sweep-1f2e"], found["r8 · 0"]
    assert parent.data.tags["mlflow.note.content"].startswith("# Question")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags | {
        "study": "lora-sweep",
        "arm": "r8",
        "replicate": "0",
        "state": "done",
        "rank": "8",
        "factor.arm": "x",
        "attempts": "2",
        "resumed_at": "1",
    } == (child.data.tags)
    assert child.data.params == {"lora.rank": "8", "seed": "0"}
    assert child.info.status == "FINISHED"
    assert child.info.end_time == end.ended_ms
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["curve.txt"]
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["curve.txt"]
    rows = store.rows()
    assert [row for row in rows if row[0] != "train/loss"] == [
        ("best/f1", 0, 63.0, 0),
        ("eval/f1_3-d5e875", 3, 0.0, 0),
        ("final/f1", 0, 61.5, 0),
        ("train/grad", 3, 0.0, 1),
        ("train/x", 3, sys.float_info.max, 0),
    ]
    assert len(rows) == 8
    assert run_ids(study, [trial], sink) == {trial.identity: child.info.run_id}


def test_publishing_twice_adds_no_row_and_no_run(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emit(trial).metrics({"a": 0.1, "b": math.nan}, step=1)
    publish_study(study, [(trial, end)], sink)
    rows, runs = store.rows(), store.runs()
    again = publish_study(study, [(trial, end)], MlflowSink(sink.tracking_uri))
    assert (again.rows, again.written, again.complete) == (0, 0, 1)
    for folder in (trial.path, Path(study.folder or "")):
        for cursor in folder.glob("published-*.json"):
            cursor.unlink()
    cold = publish_study(study, [(trial, end)], MlflowSink(sink.tracking_uri))
    assert cold.written == 1  # sent again, verbatim
    assert (store.rows(), store.runs()) == (rows, runs)


def test_what_is_published_is_not_looked_at_with_mlflow(
    sink: MlflowSink, study: StudyRun, trial: TrialRun, end: TrialEnd
) -> None:
    publish_study(study, [(trial, end)], sink)
    code = (
        "import sys, msgspec; from telemetry import *\n"
        "told = tuple[StudyRun, TrialRun, TrialEnd]\n"
        "study, trial, end = msgspec.json.decode(sys.argv[1], type=told)\n"
        "report = publish_study(study, [(trial, end)], MlflowSink(sys.argv[2]))\n"
        "assert report.complete == 1, report\n"
        "loaded = {'mlflow', 'ray', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    told = msgspec.json.encode((study, trial, end)).decode()
    subprocess.run([sys.executable, "-c", code, told, sink.tracking_uri], check=True)


def test_a_new_store_gets_everything_again(
    sink: MlflowSink,
    store: Any,
    new_store: Callable[[str], Any],
    study: StudyRun,
    trial: TrialRun,
    end: TrialEnd,
    emit: Emit,
) -> None:
    emit(trial).metrics({"a": 0.1}, step=1)
    publish_study(study, [(trial, end)], sink)
    before = store.rows()
    other = new_store("other")
    report = publish_study(study, [(trial, end)], MlflowSink(other.uri))
    assert report.written == 1
    assert other.rows() == before


def test_an_experiment_that_was_there_is_tagged_for_the_training_pages(
    sink: MlflowSink, study: StudyRun
) -> None:
    client = MlflowClient(sink.tracking_uri)
    experiment_id = client.create_experiment(study.name)
    publish_study(study, [], sink)
    tags = client.get_experiment(experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


class DiesAfterSending:
    """A sink whose process dies when rows were taken, before anyone could note it."""

    def __init__(self, sink: MlflowSink) -> None:
        self.sink = sink

    def write_trial(
        self, study: StudyRun, trial: TrialRun, rows: Sequence[Row] = (), end: object = None
    ) -> str:
        self.sink.write_trial(study, trial, rows)
        raise KeyboardInterrupt


def test_a_kill_between_log_and_acknowledgement_leaves_one_row_each(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emitter = emit(trial)
    for step in range(20):
        emitter.metrics({"a": step / 3, "nan": math.nan}, step=step)
    first = TrialPublication(study, trial, sink.store_id())
    first.gather()  # killed before sending
    second = TrialPublication(study, trial, sink.store_id())
    second.gather()
    with pytest.raises(KeyboardInterrupt):
        second.write(DiesAfterSending(sink))  # type: ignore[arg-type]
    emitter.metrics({"a": 7.0}, step=20)
    report = publish_study(study, [(trial, end)], MlflowSink(sink.tracking_uri))
    assert report.left == {}
    rows = store.rows()
    assert len(rows) == len({row[:2] for row in rows}) == 41 + 2
    assert len(store.runs()) == 2


def test_a_preempted_trial_goes_on_in_its_run(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emit(trial, 0).metrics({"a": 1.0}, step=1)
    publish_study(study, [(trial, TrialEnd("preempted", 5))], sink)
    assert store.runs()["r8 · 0"] == "KILLED"
    emit(trial, 1).metrics({"a": 2.0}, step=2)
    publish_study(study, [(trial, None)], sink)
    assert store.runs()["r8 · 0"] == "RUNNING"
    publish_study(study, [(trial, end)], MlflowSink(sink.tracking_uri))
    assert store.runs()["r8 · 0"] == "FINISHED"
    assert [row[:3] for row in store.rows() if row[0] == "a"] == [("a", 1, 1.0), ("a", 2, 2.0)]


def failure(attempts: int, kind: str) -> TrialEnd:
    return TrialEnd(
        "failed",
        1_000 * attempts,
        attempts=attempts,
        resumed_at=attempts - 1 or None,
        failure_kind=kind,
        failure_cause=f"cause {attempts}",
    )


def test_a_retry_that_fails_otherwise_is_published_with_its_steps_and_cause(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emit(trial, 0).metrics({"a": 1.0}, step=1)
    publish_study(study, [(trial, failure(1, "timed_out"))], sink)
    emit(trial, 1).metrics({"a": 2.0}, step=2)
    second = failure(2, "out_of_memory")
    for publisher in (MlflowSink(sink.tracking_uri), sink):  # a new process, and the first again
        for _ in range(2):
            report = publish_study(study, [(trial, second)], publisher)
            assert report.left == {}
    assert (report.written, report.complete) == (0, 1)

    client = MlflowClient(sink.tracking_uri)
    run_id = run_ids(study, [trial], sink)[trial.identity]
    run = client.get_run(run_id)
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "a")] == [(1, 1), (2, 2)]
    told = {"failure": "out_of_memory", "cause": "cause 2", "attempts": "2", "resumed_at": "1"}
    assert run.data.tags | told == run.data.tags
    assert (run.info.status, run.info.end_time) == ("FAILED", 2_000)

    publish_study(study, [(trial, end)], sink)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert not {"failure", "cause", "resumed_at"} & run.data.tags.keys()


def test_a_reused_trial_gets_a_light_run_with_a_link(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emit(trial).metrics({"a": 1.0}, step=1)
    publish_study(study, [(trial, end)], sink)
    owner = run_ids(study, [trial], sink)[trial.identity]
    other = StudyRun("other", "other-77", folder=str(Path(study.folder or "") / "other"))
    reused = msgspec.structs.replace(trial, reused=True, name="again")
    for _ in range(2):
        publish_study(other, [(reused, end)], MlflowSink(sink.tracking_uri))
    client = MlflowClient(sink.tracking_uri)
    run = client.get_run(run_ids(other, [reused], sink)[trial.identity])
    assert run.data.tags["reused"] == "true"
    assert run.data.tags["owner"] == study.instance
    assert owner in run.data.tags["mlflow.note.content"]
    assert run.data.metrics == {"final/f1": 61.5, "best/f1": 63.0}
    assert store.runs()["again"] == "FINISHED"


def test_a_run_that_was_deleted_is_made_again_with_all_its_rows(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emitter = emit(trial)
    emitter.metrics({"a": 1.0}, step=1)
    publish_study(study, [(trial, None)], sink)
    MlflowClient(sink.tracking_uri).delete_run(run_ids(study, [trial], sink)[trial.identity])
    emitter.metrics({"a": 2.0}, step=2)
    assert publish_study(study, [(trial, end)], sink).left == {}
    client = MlflowClient(sink.tracking_uri)
    run_id = run_ids(study, [trial], sink)[trial.identity]
    assert len(client.get_metric_history(run_id, "a")) == 2


def test_a_run_whose_rows_were_made_anew_is_made_anew(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    """Rank 1 reports after its step was given without it: made anew, the step has both ranks."""
    first, late = emit(trial, ranks=2), emit(trial, rank=1, ranks=2)
    first.metrics({"a": 1.0}, step=1)
    live = TrialPublication(study, trial, sink.store_id())
    live.fold = TrialFold(trial.folder, rank_timeout_s=0.0)
    live.gather()
    live.write(sink)
    assert [row[:3] for row in store.rows()] == [("a", 1, 1.0)]
    late.metrics({"a": 3.0}, step=1)
    for emitter in (first, late):
        emitter.close()
    publish_study(study, [(trial, end)], sink, archive=True)
    before = run_ids(study, [trial], sink)[trial.identity]

    made = set()
    for _ in range(2):  # lost twice, it is made anew to the same
        (trial.path / "rows.jsonl").unlink()
        rebuild_rows(trial.path)
        for publisher in (sink, MlflowSink(sink.tracking_uri)):
            assert publish_study(study, [(trial, end)], publisher, afresh=True).left == {}
        made |= {run_ids(study, [trial], sink)[trial.identity]}
    client = MlflowClient(sink.tracking_uri)
    (now,) = made
    assert [(m.step, m.value) for m in client.get_metric_history(now, "a")] == [(1, 2.0)]
    assert client.get_run(now).info.status == "FINISHED"
    assert client.get_run(before).info.lifecycle_stage == "deleted"


def test_rows_of_one_rank_made_anew_leave_their_run(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emit(trial).metrics({"a": 1.0}, step=1)
    publish_study(study, [(trial, end)], sink, archive=True)
    rows, runs = store.rows(), run_ids(study, [trial], sink)
    (trial.path / "rows.jsonl").unlink()
    publish_study(study, [(trial, end)], sink, afresh=True)
    assert (store.rows(), run_ids(study, [trial], sink)) == (rows, runs)


def test_long_and_odd_names_do_not_break_a_run(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emit(trial).metrics({"x" * 300: 1.0, "a//b/../c?é": 2.0, "/": 3.0, "../up": 4.0}, step=1)
    odd = msgspec.structs.replace(
        trial,
        params={"long": "y" * 20_000, **{f"p{i}": i for i in range(250)}},
        factors={f"f{i}": i for i in range(150)},
        tags={"t": "z" * 20_000},
    )
    assert publish_study(study, [(odd, end)], sink).left == {}
    assert len(store.rows()) == 4 + 2
    assert publish_study(study, [(odd, end)], MlflowSink(sink.tracking_uri)).left == {}


def test_a_study_that_is_being_published_is_left_alone(
    sink: MlflowSink, study: StudyRun, trial: TrialRun
) -> None:
    folder = Path(study.folder or "")
    folder.mkdir()
    with locked(folder / "publish.lock"):
        assert publish_study(study, [(trial, None)], sink).busy


class Absent:
    """A sink that is not there."""

    def __init__(self) -> None:
        self.calls = 0

    def prepare(self) -> None:
        self.calls += 1
        raise SinkUnavailableError("away")


def test_a_retrying_sink_waits_longer_each_time_and_answers_at_once_between() -> None:
    now = [0.0]
    absent = Absent()
    retrying = RetryingSink(absent, first_wait_s=1, longest_wait_s=3, clock=lambda: now[0])  # type: ignore[arg-type]
    tries = []
    for second in range(12):
        now[0] = float(second)
        before = absent.calls
        with pytest.raises(SinkUnavailableError):
            retrying.prepare()
        tries.append(absent.calls - before)
    assert tries == [1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]


def test_a_patient_sink_retries_within_its_patience() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    absent = Absent()
    patient = RetryingSink(absent, patience_s=5, clock=lambda: now[0], sleep=sleep)  # type: ignore[arg-type]
    with pytest.raises(SinkUnavailableError):
        patient.prepare()
    assert absent.calls == 4  # at 0, 0.5, 1.5 and 3.5 s


def test_a_row_log_that_was_made_anew_is_sent_from_its_start(
    sink: MlflowSink, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emitter = emit(trial)
    for step in range(100):
        emitter.metrics({"a/long/name": 0.1 * step}, step=step)
    assert publish_study(study, [(trial, None)], sink).rows == 100
    emitter.close()
    spool_path(trial.path / "attempt-0000", 0).unlink()
    (trial.path / "rows.jsonl").unlink()
    late = emit(trial, 1)
    for step in range(100, 130):
        late.metrics({"b": 1.0}, step=step)
    late.close()
    report = publish_study(study, [(trial, end)], MlflowSink(sink.tracking_uri))
    assert report.rows == 30 + 2
    run_id = run_ids(study, [trial], sink)[trial.identity]
    history = MlflowClient(sink.tracking_uri).get_metric_history(run_id, "b")
    assert [metric.step for metric in history] == list(range(100, 130))


def test_a_log_that_is_lost_while_it_is_published_is_sent_again_without_a_second_row(
    sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    emitter = emit(trial)
    sink.prepare()
    live = TrialPublication(study, trial, sink.store_id())
    for step in range(10):
        emitter.metrics({"a": 0.1 * step}, step=step)
    live.gather()
    live.write(sink)
    (trial.path / "rows.jsonl").unlink()
    for step in range(10, 15):
        emitter.metrics({"a": 0.1 * step}, step=step)
    live.end = end
    live.gather()
    live.write(sink)
    assert live.complete
    assert [row[:2] for row in store.rows() if row[0] == "a"] == [("a", step) for step in range(15)]


def test_a_trial_with_a_damaged_archive_does_not_keep_the_others(
    sink: MlflowSink, study: StudyRun, trial: TrialRun, end: TrialEnd, emit: Emit
) -> None:
    folder = trial.path.with_name("feed5609b1d2e7f0")
    folder.mkdir()
    other = msgspec.structs.replace(trial, identity=folder.name, folder=str(folder), replicate=1)
    for each in (trial, other):
        emit(each).metrics({"a": 1.0}, step=1)
        emit(each).close()
    (trial.path / "events.parquet").write_bytes(b"PAR1 damaged")
    report = publish_study(study, [(trial, end), (other, end)], sink, archive=True)
    assert list(report.left) == [trial.identity]
    assert "events.parquet' is damaged" in report.left[trial.identity]
    assert set(run_ids(study, [trial, other], sink)) == {other.identity}
