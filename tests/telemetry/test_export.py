"""Exports: every event once, from file and spools, in columns that the documents name."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from telemetry import Emitter, archive_events, decode, spool_path
from telemetry.contracts import HostSnapshot
from telemetry.export import (
    TIERS,
    ExportTrial,
    write_flat_jsonl,
    write_flat_parquet,
    write_jsonl,
    write_parquet,
)
from tests.conftest import ROOT


def ignore(rows: int) -> None:
    """A progress that nobody looks at."""


def recorded(folder: Path, attempt: int = 0, rank: int = 0, steps: int = 3) -> Path:
    path = spool_path(folder / f"attempt-{attempt:04d}", rank)
    with Emitter(path, trial=folder.name, attempt=attempt, rank=rank, ranks=2) as emitter:
        emitter.context({"base_seed": 4})
        for step in range(1, steps + 1):
            emitter.metrics({"loss": 1.0 / step, "later": None}, step=step)
        emitter.metrics({"loss": math.nan}, step=steps + 1, epoch=0.5)
        emitter.snapshot(HostSnapshot(epoch=1, val_accuracy=71.5), step=steps)
        emitter.trace("look", {"at": [1, 2]}, step=1, reason="asked")
    return path


@pytest.fixture
def trial(tmp_path: Path) -> ExportTrial:
    """Two ranks; the second attempt is not archived yet."""
    folder = tmp_path / "feed"
    for rank in range(2):
        recorded(folder, 0, rank)
    archive_events(folder, remove_spools=True)
    for rank in range(2):
        recorded(folder, 1, rank)
    return ExportTrial(folder, "a-study", "an-arm", 2, 4)


def parquet_of(trial: ExportTrial, tiers: tuple[int, ...] = TIERS) -> pd.DataFrame:
    file = io.BytesIO()
    count = write_parquet([trial], file, tiers, ignore)  # type: ignore[arg-type]
    table = pq.read_table(io.BytesIO(file.getvalue()))
    assert table.num_rows == count
    return table.to_pandas()


def test_every_event_of_file_and_spools_is_there_once(trial: ExportTrial) -> None:
    frame = parquet_of(trial)
    places = frame[["attempt", "rank", "seq"]].apply(tuple, axis=1)
    assert places.is_unique
    assert len(frame) == 2 * 2 * 9
    assert set(frame.study) == {"a-study"}
    assert set(frame.arm) == {"an-arm"}
    assert (set(frame.replicate), set(frame.seed)) == ({2}, {4})


def test_tiers_can_be_chosen(trial: ExportTrial) -> None:
    assert set(parquet_of(trial, (1,)).kind) == {"context", "mark"}
    assert set(parquet_of(trial, (2, 3)).kind) == {"metrics", "host_snapshot", "trace"}


def test_lines_are_the_events_with_their_labels(trial: ExportTrial) -> None:
    file = io.BytesIO()
    count = write_jsonl([trial], file, TIERS, ignore)
    lines = file.getvalue().splitlines()
    assert len(lines) == count == 36
    assert {json.loads(line)["arm"] for line in lines} == {"an-arm"}
    assert {decode(line).trial for line in lines} == {"feed"}


def test_the_long_form_has_a_row_for_each_value_of_each_rank(trial: ExportTrial) -> None:
    file = io.BytesIO()
    write_flat_parquet([trial], file, ignore)
    frame = pd.read_parquet(io.BytesIO(file.getvalue()), dtype_backend="pyarrow")
    first = frame[(frame.attempt == 0) & (frame["rank"] == 0)]
    assert list(first.key) == ["loss", "later"] * 3 + ["loss"] + list(
        HostSnapshot(epoch=1).values()
    )
    table = pq.read_table(io.BytesIO(file.getvalue())).to_pylist()
    values = [row["value"] for row in table if row["key"] == "later"]
    assert values == [None] * 12, "not measured is null"
    assert sum(math.isnan(row["value"]) for row in table if row["key"] == "loss") == 4
    assert [row["value"] for row in table if row["key"] == "eval/accuracy"] == [71.5] * 4


def test_the_long_form_as_lines_is_json_that_any_reader_takes(trial: ExportTrial) -> None:
    file = io.BytesIO()
    count = write_flat_jsonl([trial], file, ignore)
    rows = [
        json.loads(line, parse_constant=lambda name: pytest.fail(name))
        for line in file.getvalue().splitlines()
    ]
    assert len(rows) == count
    assert [row["value"] for row in rows if row["key"] == "loss"][3] == "nan"
    assert rows[1]["value"] is None


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    peaks = []
    for steps in (10_000, 40_000):
        folder = tmp_path / str(steps)
        with Emitter(spool_path(folder / "attempt-0000", 0), trial="t", attempt=0) as emitter:
            for step in range(steps):
                emitter.metrics({"loss": 0.5}, step=step)
        tracemalloc.start()
        with (tmp_path / "out.parquet").open("wb") as file:
            write_parquet([ExportTrial(folder)], file, TIERS, ignore)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 10 * 2**20


def test_memory_does_not_grow_with_the_size_of_the_traces(tmp_path: Path) -> None:
    code = """
        import resource, sys
        from pathlib import Path
        from telemetry import Emitter, parquet, spool_path
        from telemetry.export import TIERS, ExportTrial, write_parquet
        parquet.GROUP_BYTES = 8 * 2**20
        folder, traces = Path(sys.argv[1]), int(sys.argv[2])
        with Emitter(spool_path(folder / "attempt-0000", 0), trial="t", attempt=0) as emitter:
            for step in range(traces):
                emitter.trace("dense", {"text": "x" * 200_000}, step=step)
        with (folder / "out.parquet").open("wb") as file:
            write_parquet([ExportTrial(folder)], file, TIERS, lambda rows: None)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    """

    def peak_mib(traces: int) -> float:
        words = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / f"t{traces}")]
        return float(subprocess.run([*words, str(traces)], capture_output=True, check=True).stdout)

    assert peak_mib(800) < peak_mib(200) + 60  # the others take 115 MiB as text alone


def test_the_documented_tables_are_those_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("make_events", ROOT / "docs" / "make_events.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = made.PAGE.read_text()
    assert made.page(text) == text, "run: python docs/make_events.py"
    for table in ("columns", "flat", "event", "payloads", "parts"):
        assert f"<!-- tables:{table} -->" in text
