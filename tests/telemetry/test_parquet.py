from __future__ import annotations

import math
from collections.abc import Callable

import pyarrow.parquet as pq

from telemetry import (
    Emitter,
    Metrics,
    RowLog,
    TrialRun,
    archive_events,
    fold,
    read_events,
    spools_of,
)

Emit = Callable[..., Emitter]


def fill(trial: TrialRun, emit: Emit, attempt: int) -> Emitter:
    emitter = emit(trial, attempt)
    emitter.context({"host_params": 3})
    emitter.metrics({"a": 1.0, "n": None, "nan": math.nan}, step=attempt)
    emitter.trace("dense", {"h": [1, math.nan]}, step=attempt, reason="forced")
    return emitter


def test_the_file_holds_every_event_of_every_attempt(trial: TrialRun, emit: Emit) -> None:
    for attempt in (0, 1):
        fill(trial, emit, attempt)
    path = archive_events(trial.path)
    assert path is not None
    events = list(read_events(path))
    assert [(e.tier, e.attempt) for e in events] == [
        *[(1, 0), (1, 0), (1, 1), (1, 1)],
        *[(2, 0), (2, 1)],
        *[(3, 0), (3, 1)],
    ]
    assert isinstance(events[4].payload, Metrics)
    assert events[4].payload.values["n"] is None
    assert math.isnan(events[4].payload.values["nan"] or 0.0)
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 3
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_spools_go_once_they_are_in_the_file_and_nothing_is_lost(
    trial: TrialRun, emit: Emit
) -> None:
    fill(trial, emit, 0).close()
    fold(trial.path)
    fill(trial, emit, 1)  # its process died: never closed
    path = archive_events(trial.path, remove_spools=True)
    assert path is not None
    assert [spool.attempt for spool in spools_of(trial.path)] == [1]
    before = len(list(read_events(path)))
    fill(trial, emit, 2).close()
    archive_events(trial.path, remove_spools=True)
    assert len(list(read_events(path))) == before + 5
    assert fold(trial.path) == []  # rows were logged before the spools went
    assert len(RowLog(trial.path).read(0)[0]) == 6
    assert archive_events(trial.path) == path


def test_archiving_again_leaves_the_file_alone(trial: TrialRun, emit: Emit) -> None:
    fill(trial, emit, 0)
    path = archive_events(trial.path)
    assert path is not None
    before = path.stat().st_mtime_ns
    archive_events(trial.path)
    assert path.stat().st_mtime_ns == before
