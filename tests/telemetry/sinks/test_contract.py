"""Every sink that needs nothing but files keeps the contract."""

from __future__ import annotations

import json
import math
import shutil
import socket
import sys
from pathlib import Path

import pytest

from telemetry import MlflowSink, StudyRun, TrialRun
from telemetry.sinks import JsonlSink, ParquetSink, Sink, WandbSink
from telemetry.sinks.mlflow_names import key as mlflow_key
from telemetry.testing import SinkContract, StoredRow, StoredRun
from tests.telemetry.sinks.reading import folder_runs, mlflow_runs, wandb_runs


class MlflowContract(SinkContract):
    """What is the same for every MLflow store."""

    @pytest.fixture(autouse=True)
    def _no_retries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def uri(self, folder: Path) -> str:
        raise NotImplementedError

    def stored(self, folder: Path) -> list[StoredRun]:
        return mlflow_runs(self.uri(folder), folder)

    def remove_trial(self, folder: Path, study: StudyRun, trial: TrialRun) -> None:
        from mlflow import MlflowClient

        client = MlflowClient(self.uri(folder))
        experiment = client.get_experiment_by_name(study.name)
        (run,) = client.search_runs(
            [experiment.experiment_id], f"tags.`orrery.trial` = '{trial.identity}'"
        )
        client.delete_run(run.info.run_id)

    def unavailable_sink(self, folder: Path) -> Sink:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return MlflowSink(f"http://127.0.0.1:{probe.getsockname()[1]}")

    def stored_key(self, key: str) -> str:
        return mlflow_key(key)

    def stored_value(self, value: float) -> float:
        return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


class TestMlflowInSqlite(MlflowContract):
    @pytest.fixture(autouse=True)
    def _empty_store(self, empty_store: Path) -> None:
        self.empty_store = empty_store

    def uri(self, folder: Path) -> str:
        path = folder / "mlflow.db"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            shutil.copy(self.empty_store, path)
        return f"sqlite:///{path}"

    def make_sink(self, folder: Path) -> Sink:
        return MlflowSink(self.uri(folder), artifact_root=str(folder / "mlartifacts"))


class FolderContract(SinkContract):
    """What is the same for both sinks that write plain files."""

    suffix: str

    def rows(self, folder: Path, trial: str) -> list[StoredRow]:
        raise NotImplementedError

    def stored(self, folder: Path) -> list[StoredRun]:
        return folder_runs(folder / "out", self.rows)

    def remove_trial(self, folder: Path, study: StudyRun, trial: TrialRun) -> None:
        for path in (folder / "out").glob(f"*/{study.instance}/*{trial.identity}*"):
            path.unlink()


class TestJsonl(FolderContract):
    def make_sink(self, folder: Path) -> Sink:
        return JsonlSink(folder / "out")

    def refusing_sink(self, folder: Path) -> Sink:
        (folder / "out").write_text("a file")
        return JsonlSink(folder / "out")

    def rows(self, folder: Path, trial: str) -> list[StoredRow]:
        path = folder / f"{trial}.jsonl"
        lines = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )
        assert all(line["trial"] == trial for line in lines)
        return [(r["key"], r["step"], r["time_ms"], _number(r)) for r in lines]


class TestParquet(FolderContract):
    def make_sink(self, folder: Path) -> Sink:
        return ParquetSink(folder / "out")

    def refusing_sink(self, folder: Path) -> Sink:
        (folder / "out").write_text("a file")
        return ParquetSink(folder / "out")

    def rows(self, folder: Path, trial: str) -> list[StoredRow]:
        import pyarrow.parquet as pq

        path = folder / f"{trial}.parquet"
        table = pq.read_table(path, partitioning=None).to_pylist() if path.exists() else []
        waiting = folder / f".{trial}.waiting.jsonl"
        if waiting.exists():
            table += [json.loads(line) for line in waiting.read_text().splitlines()]
        return [(r["key"], r["step"], r["time_ms"], _number(r)) for r in table]


@pytest.mark.slow
class TestWandbOffline(SinkContract):
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("wandb")
        monkeypatch.setenv("WANDB_MODE", "offline")

    def make_sink(self, folder: Path) -> Sink:
        return WandbSink("sweeps", folder=folder / "out")

    def stored(self, folder: Path) -> list[StoredRun]:
        return wandb_runs(folder / "out")

    def remove_trial(self, folder: Path, study: StudyRun, trial: TrialRun) -> None:
        for path in (folder / "out" / "wandb").glob(f"*{_wandb_id(study, trial)}*"):
            shutil.rmtree(path)


def _wandb_id(study: StudyRun, trial: TrialRun) -> str:
    from telemetry.sinks.wandb_sink import _run_id

    return _run_id(study, trial)


def _number(row: dict[str, object]) -> float:
    value = row["value"] if row["value"] is not None else row["nonfinite"]
    return float(str(value))
