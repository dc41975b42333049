"""Reads what a store holds past our sinks, for the contract."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from telemetry.sinks import wandb_files
from telemetry.testing import StoredRow, StoredRun
from tests.orchestrator.quick_study import wait_until


def mlflow_runs(uri: str, scratch: Path) -> list[StoredRun]:
    """Every active run of an MLflow store."""
    client = MlflowClient(uri)
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    return [_mlflow_run(client, run, scratch) for run in runs]


def _mlflow_run(client: MlflowClient, run: Run, scratch: Path) -> StoredRun:
    tags, run_id = run.data.tags, run.info.run_id
    assert ("mlflow.parentRunId" in tags) == ("orrery.trial" in tags)
    rows = [
        (row.key, row.step, row.timestamp, row.value)
        for key in run.data.metrics
        for row in client.get_metric_history(run_id, key)
    ]
    return StoredRun(
        instance=tags["orrery.study_instance"],
        trial=tags.get("orrery.trial"),
        name=run.info.run_name,
        ended=run.info.status != "RUNNING",
        rows=rows,
        tags=tags,
        params=run.data.params,
        note=tags.get("mlflow.note.content", ""),
        artifacts=_mlflow_files(client, run_id, scratch),
    )


def _mlflow_files(client: MlflowClient, run_id: str, scratch: Path) -> dict[str, bytes]:
    if not client.list_artifacts(run_id):
        return {}
    to = scratch / "downloaded" / run_id
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    return files_below(Path(client.download_artifacts(run_id, "", str(to))))


def files_below(folder: Path) -> dict[str, bytes]:
    """Relative path → content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def folder_runs(folder: Path, rows_of: Any) -> list[StoredRun]:
    """Every run below the folder of a `FolderSink`; `rows_of` reads a run's metric rows."""
    found = []
    for path in sorted(folder.glob("studies/*.json")):
        told = json.loads(path.read_bytes())
        found.append(
            StoredRun(
                instance=told["instance"],
                trial=None,
                name=told["instance"],
                ended=told["state"] != "running",
                tags=told["tags"],
                params=told["params"],
                note=told["note"],
                artifacts=files_below(folder / "artifacts" / path.stem / "study"),
            )
        )
    for path in sorted(folder.glob("runs/*/*.json")):
        told = json.loads(path.read_bytes())
        facts = ("arm", "role", "replicate", "state", "owner", "cause")
        tags = {name: str(told[name]) for name in facts if told[name] is not None}
        found.append(
            StoredRun(
                instance=told["study"],
                trial=told["trial"],
                name=told["name"],
                ended=told["ended_ms"] is not None,
                rows=rows_of(folder / "metrics" / path.parent.name, path.stem),
                tags={**told["tags"], **tags, **({"reused": "true"} if told["reused"] else {})},
                params=told["params"],
                artifacts=files_below(folder / "artifacts" / path.parent.name / path.stem),
            )
        )
    return found


def wandb_runs(folder: Path) -> list[StoredRun]:
    """Every run in W&B's offline files, its several files put together as a sync would."""
    ids = {path.stem.removeprefix("run-") for path in folder.glob("wandb/*/run-*.wandb")}
    wait_until(lambda: all(map(partial(_wandb_said, folder), ids)), "W&B wrote what it was told")
    return [_wandb_run(folder, run_id) for run_id in sorted(ids)]


def _wandb_said(folder: Path, run_id: str) -> bool:
    """Whether the file of a run that goes on has its first records: W&B writes with a delay."""
    kinds = [
        record.WhichOneof("record_type")
        for path in wandb_files.files_of(folder, run_id)
        for record in wandb_files.records(path)
    ]
    return "run" in kinds


def _wandb_run(folder: Path, run_id: str) -> StoredRun:
    rows: list[StoredRow] = []
    config: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    told: Any = None
    ended, note, steps = False, "", []
    for path in wandb_files.files_of(folder, run_id):
        ended = False
        for record in wandb_files.records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                told = record.run
                note = told.notes or note
            ended = ended or kind == "exit"
            changed = record.run.config if kind == "run" else record.config
            for item in changed.update:
                config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        for step, values in wandb_files.history(path):
            steps.append(step)
            time_ms = round(values.pop("_timestamp") * 1000)
            at = values.pop("orrery/step")
            rows += [(k, at, time_ms, float(v)) for k, v in values.items() if k[0] != "_"]
        saved = files_below(path.parent / "files")
        files |= {name: content for name, content in saved.items() if name not in _THEIR_OWN}
    assert steps == sorted(set(steps)), "W&B takes ascending steps only"
    ours = config.pop("orrery")
    trial = ours.get("orrery.trial")
    return StoredRun(
        instance=told.run_group.partition("@")[0],
        trial=trial,
        name=told.display_name,
        ended=ended and ours["state"] != "running",
        rows=rows,
        tags=ours,
        params={name: value for name, value in config.items() if name != "_wandb"},
        note=note,
        artifacts=files,
    )


_THEIR_OWN = {"requirements.txt", "wandb-metadata.json", "config.yaml", "output.log",
              "wandb-summary.json"}  # fmt: skip
