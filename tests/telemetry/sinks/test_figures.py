"""Figures of a study stand in its own run, once, whatever the sink."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from telemetry import MlflowSink, StudyRun
from telemetry.sinks import JsonlSink

FIGURES = {"causal/shapley/mid": 1.5, "causal/shapley/mid/low": 0.5, "causal/total": None}


def study() -> StudyRun:
    return StudyRun("s", "s-1", state="done", ended_ms=5000, figures=FIGURES, figures_ms=5000)


def test_mlflow_has_them_as_metrics(empty_store: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    uri = f"sqlite:///{database}"
    sink = MlflowSink(uri, artifact_root=tmp_path.as_uri())
    run_id = sink.write_study(study())
    assert sink.write_study(study()) == run_id

    client = MlflowClient(uri)
    stored = client.get_run(run_id).data.metrics
    assert stored == {"final/causal/shapley/mid": 1.5, "final/causal/shapley/mid/low": 0.5}
    assert len(client.get_metric_history(run_id, "final/causal/shapley/mid")) == 1


def test_a_folder_has_them_beside_the_state(tmp_path: Path) -> None:
    JsonlSink(tmp_path).write_study(study())
    (path,) = (tmp_path / "studies").glob("*.json")
    assert json.loads(path.read_text())["figures"] == FIGURES
