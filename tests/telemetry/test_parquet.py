from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from telemetry import (
    Emitter,
    Metrics,
    RowLog,
    TrialRun,
    archive_events,
    fold,
    read_events,
    rebuild_rows,
    spools_of,
)
from telemetry.export import ExportTrial, write_parquet
from telemetry.parquet import events_in_order

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


def test_a_long_trial_has_more_row_groups_and_the_same_events_in_order(
    trial: TrialRun, emit: Emit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.parquet._BATCH_ROWS", 10)
    monkeypatch.setattr("telemetry.parquet.GROUP_ROWS", 30)
    for rank in (1, 0):
        emitter = emit(trial, rank=rank, ranks=2)
        for step in range(50):
            emitter.metrics({"a": 1.0 * step}, step=step)
        emitter.close()
    path = archive_events(trial.path, remove_spools=True)
    assert path is not None
    late = emit(trial, 1)
    late.metrics({"a": 9.0}, step=50)
    archive_events(trial.path)
    events = list(read_events(path))
    places = [(e.tier, e.attempt, e.rank, e.seq) for e in events]
    assert places == sorted(set(places))
    assert len([e for e in events if isinstance(e.payload, Metrics)]) == 101
    assert pq.ParquetFile(path).num_row_groups == 1 + 4


def test_a_spool_that_is_out_of_order_is_archived_in_order(trial: TrialRun, emit: Emit) -> None:
    emitter = emit(trial)
    for step in range(4):
        emitter.metrics({"a": 1.0}, step=step)
    (spool,) = spools_of(trial.path)
    lines = spool.path.read_bytes().splitlines(keepends=True)
    spool.path.write_bytes(b"".join([*reversed(lines), lines[0]]))
    path = archive_events(trial.path)
    assert path is not None
    assert [e.seq for e in read_events(path)] == [0, 1, 2, 3, 4]


def test_archiving_takes_no_more_memory_for_more_events(tmp_path: Path) -> None:
    code = """
        import resource, sys
        from pathlib import Path
        from telemetry import Emitter, archive_events, spool_path
        import telemetry.parquet as parquet
        parquet.GROUP_ROWS = 10_000
        folder, events = Path(sys.argv[1]), int(sys.argv[2])
        emitter = Emitter(spool_path(folder / "attempt-0000", 0), trial="t", attempt=0)
        for step in range(events):
            emitter.metrics({"a/long/name/of/a/metric": 0.1 * step, "b": 2.0}, step=step)
        emitter.close()
        archive_events(folder)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    """

    def peak_mib(events: int) -> float:
        words = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / f"t{events}")]
        return float(subprocess.run([*words, str(events)], capture_output=True, check=True).stdout)

    assert peak_mib(100_000) < peak_mib(20_000) + 30  # as objects they would take 100 more


def logged(trial: TrialRun) -> list[tuple[str, int, int, float | None, int]]:
    rows, _ = RowLog(trial.path).read(0)
    return sorted((r.key, r.step, r.time_ms, r.value, r.ranks) for r in rows)


def test_rows_are_rebuilt_from_the_file_alone(trial: TrialRun, emit: Emit) -> None:
    for attempt in (0, 1):
        for rank in range(3):
            emitter = emit(trial, attempt, rank, ranks=3, reducers={"b": "max"})
            for step in range(attempt * 20, 40 + attempt * 20):
                emitter.metrics({"a": rank / 7 + step, "b": attempt * 100.0 + rank}, step=step)
            emitter.close()
    archive_events(trial.path, remove_spools=True)
    before = logged(trial)
    assert len(before) == 60 * 6
    assert spools_of(trial.path) == []
    (trial.path / "rows.jsonl").unlink()
    assert rebuild_rows(trial.path) == len(before)
    assert logged(trial) == before
    assert rebuild_rows(trial.path) == 0
    assert not list(trial.path.glob(".rebuild-*"))


def test_rows_that_are_still_logged_stay_when_the_others_are_rebuilt(
    trial: TrialRun, emit: Emit
) -> None:
    emitter = emit(trial)
    for step in range(5):
        emitter.metrics({"a": 1.0 * step}, step=step)
    emitter.close()
    archive_events(trial.path, remove_spools=True)
    log = trial.path / "rows.jsonl"
    before = logged(trial)
    first = log.read_bytes().splitlines(keepends=True)[0]
    log.write_bytes(first)
    assert rebuild_rows(trial.path) == 4
    assert logged(trial) == before
    assert log.read_bytes().startswith(first)


def test_a_trial_that_is_archived_while_it_is_read_is_read_to_its_end(
    trial: TrialRun, emit: Emit
) -> None:
    for rank in range(3):
        emitter = emit(trial, rank=rank, ranks=3)
        for step in range(12_000):
            emitter.metrics({"a": 1.0 * step}, step=step)
        emitter.close()
    assert spools_of(trial.path)[0].path.stat().st_size > 1 << 20  # is not read in one go
    reading = events_in_order(trial.path)
    found = [next(reading) for _ in range(5)]
    archive_events(trial.path, remove_spools=True)
    assert spools_of(trial.path) == []
    found += reading
    places = [(event.rank, event.seq) for event in found]
    assert places == [(rank, seq) for rank in range(3) for seq in range(12_002)]


def test_a_spool_with_a_line_that_is_not_read_stays_when_it_is_archived(
    trial: TrialRun, emit: Emit, caplog: pytest.LogCaptureFixture
) -> None:
    for attempt in (0, 1):
        fill(trial, emit, attempt).close()
    newer = spools_of(trial.path)[1].path
    lines = newer.read_bytes().splitlines(keepends=True)
    newer.write_bytes(b"".join([*lines[:2], b'{"v":99,"new":"fact"}\n', *lines[2:]]))
    path = archive_events(trial.path, remove_spools=True)
    assert path is not None
    assert [spool.attempt for spool in spools_of(trial.path)] == [1]
    assert len(list(read_events(path))) == 10
    assert "1 of its lines" in caplog.text


def test_spools_go_only_after_the_disk_has_the_file(
    trial: TrialRun, emit: Emit, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(trial, emit, 0).close()
    order: list[str] = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def told(handle: int) -> None:
        order.append(f"synced {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        order.append(f"replaced {Path(target).name}")
        replace(source, target)

    def removed(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".jsonl":
            order.append(f"removed {path.name}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", told)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(Path, "unlink", removed)
    archive_events(trial.path, remove_spools=True)
    assert order == [
        f"synced .events.parquet.{os.getpid()}.tmp",
        "replaced events.parquet",
        f"synced {trial.path.name}",
        "synced rows.jsonl",
        "removed rank-0000.jsonl",
    ]


@pytest.mark.parametrize("damage", ["cut", "overwritten", "empty", "page"])
def test_a_damaged_file_is_named_and_is_an_error_of_a_file(
    trial: TrialRun, emit: Emit, damage: str
) -> None:
    emitter = emit(trial)
    for step in range(500):
        emitter.metrics({"a": math.sin(step)}, step=step)
    emitter.close()
    path = archive_events(trial.path, remove_spools=True)
    assert path is not None
    whole = path.read_bytes()
    middle = b"\xa5" * 3000
    path.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "overwritten": b"not a parquet file" * 100,
            "empty": b"",
            "page": whole[:2000] + middle + whole[2000 + len(middle) :],
        }[damage]
    )
    with pytest.raises(OSError, match=r"events\.parquet' is damaged .* Put a copy of it back"):
        list(read_events(path))
    with pytest.raises(OSError, match=r"events\.parquet' is damaged"):
        list(events_in_order(trial.path))
    fill(trial, emit, 1).close()
    with pytest.raises(OSError, match=r"events\.parquet' is damaged"):
        archive_events(trial.path, remove_spools=True)
    assert len(spools_of(trial.path)) == 1


def test_an_export_is_told_apart_from_a_trial_s_archive(trial: TrialRun, emit: Emit) -> None:
    fill(trial, emit, 0).close()
    path = trial.path / "exported.parquet"
    with path.open("wb") as file:
        write_parquet([ExportTrial(trial.path, "study", "better", 0, 1)], file, (1, 2, 3), int)
    with pytest.raises(ValueError, match=r"its columns are study, arm, .* pandas\.read_parquet"):
        list(read_events(path))
