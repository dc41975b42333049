"""Processes that produce and write metrics until a file says stop; each function runs in one."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

from telemetry import Emitter, spool_path

SCALARS = 4
"""Metrics in each event."""


def emit_until(stop: Path, folder: Path, identity: str, per_s: float, push: Any) -> int:
    """Emits `per_s` events a second into a trial's spool; gives how many rows they are."""
    emitter = Emitter(
        spool_path(folder / "attempt-0000", 0),
        trial=identity,
        attempt=0,
        push=None if push is None else copy.copy(push),
    )
    step, due = 0, time.monotonic()
    while not stop.exists():
        due += 0.05
        for _ in range(max(1, round(per_s * 0.05))):
            emitter.metrics({f"train/m{i}": step * 0.1 + i for i in range(SCALARS)}, step=step)
            step += 1
        time.sleep(max(0.0, due - time.monotonic()))
    emitter.close()
    return step * SCALARS


def write_until(stop: Path, uri: str, experiment: str, batch: int) -> tuple[int, int, str]:
    """Writes to MLflow as fast as it goes, `batch` rows a call (1: `log_metric`).

    Gives how many rows were written, how many calls failed, and with what the last one did.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(uri)
    run_id = client.create_run(experiment).info.run_id
    rows = errors = step = 0
    last = ""
    while not stop.exists():
        now_ms = time.time_ns() // 1_000_000
        steps = range(step, step + batch)
        step += batch
        try:
            if batch == 1:
                client.log_metric(run_id, "train/m0", step * 0.1, now_ms, step)
            else:
                metrics = [Metric("train/m0", each * 0.1, now_ms, each) for each in steps]
                client.log_batch(run_id, metrics=metrics)
            rows += batch
        except Exception as error:
            errors += 1
            last = str(error)[:200]
    return rows, errors, last
