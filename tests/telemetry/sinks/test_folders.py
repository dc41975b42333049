"""Rows in plain files: what a reader finds in them, while trials run and after."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from telemetry import Row, StudyRun, TrialEnd, TrialRun
from telemetry.sinks import JsonlSink, ParquetSink
from telemetry.sinks.parquet_sink import LEAST_ROWS
from tests.conftest import ROOT

STUDY = StudyRun("sweep", "sweep-1f2e")
TRIALS = [
    TrialRun(f"{number:04x}", "/nowhere", arm=f"r{number}", replicate=0) for number in range(2)
]
END = TrialEnd("done", 9_000)


def rows(start: int, end: int) -> list[Row]:
    return [Row("loss", step, 1_000 + step, 1 / (step + 1)) for step in range(start, end)]


def test_all_trials_are_one_table_for_pandas(tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path)
    for trial in TRIALS:
        sink.write_trial(STUDY, trial, rows(0, 50), END)
    table = pd.read_parquet(tmp_path / "metrics")
    assert list(table.columns) == [
        *("study", "trial", "arm", "replicate", "key", "step", "time_ms", "value", "attempt"),
        "ranks",
    ]
    assert table.groupby("arm").step.max().to_dict() == {"r0": 49, "r1": 49}
    (path, _) = sorted(tmp_path.glob("metrics/*/*.parquet"))
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_documents_pandas_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = ParquetSink(tmp_path / "results")
    for number, trial in enumerate(TRIALS):
        sink.write_trial(STUDY, trial, [Row("final/f1", 0, 9, 60.0 + number)], END)
    text = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    block = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    said = capsys.readouterr().out
    assert "r0" in said
    assert "61.0" in said


def test_a_running_trial_is_in_the_table_but_for_its_newest_rows(tmp_path: Path) -> None:
    """The file is written anew when the rows have doubled: a long run costs no square."""
    sink, written = ParquetSink(tmp_path), set()
    for start in range(0, 8 * LEAST_ROWS, 100):
        sink.write_trial(STUDY, TRIALS[0], rows(start, start + 100))
        found = sorted(tmp_path.glob("metrics/*/*.parquet"))
        lengths = [pq.read_metadata(path).num_rows for path in found]
        written.update(lengths)
        assert sum(lengths) * 2 + LEAST_ROWS > start
    assert written == {LEAST_ROWS, 2 * LEAST_ROWS, 4 * LEAST_ROWS, 8 * LEAST_ROWS}
    ParquetSink(tmp_path).write_trial(STUDY, TRIALS[0], [], END)
    assert len(pd.read_parquet(tmp_path / "metrics")) == 8 * LEAST_ROWS


def test_rows_that_were_in_both_files_when_a_process_died_are_there_once(tmp_path: Path) -> None:
    ParquetSink(tmp_path).write_trial(STUDY, TRIALS[0], rows(0, 10), END)
    whole = next(tmp_path.glob("metrics/*/*.parquet"))
    waiting = whole.with_name(f".{TRIALS[0].identity}.waiting.jsonl")
    JsonlSink(tmp_path / "lines").write_trial(STUDY, TRIALS[0], rows(5, 15))
    lines = next((tmp_path / "lines").glob("metrics/*/*.jsonl")).read_bytes()
    waiting.write_bytes(lines + b'{"key":"lo')
    ParquetSink(tmp_path).write_trial(STUDY, TRIALS[0], rows(14, 16), END)
    table = pd.read_parquet(tmp_path / "metrics")
    assert sorted(table.step) == list(range(16))
    assert not waiting.exists()


def test_a_torn_line_is_cut_off_and_written_whole(tmp_path: Path) -> None:
    JsonlSink(tmp_path).write_trial(STUDY, TRIALS[0], rows(0, 3))
    path = next(tmp_path.glob("metrics/*/*.jsonl"))
    os.truncate(path, path.stat().st_size - 20)
    JsonlSink(tmp_path).write_trial(STUDY, TRIALS[0], rows(0, 3), END)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in found] == [0, 1, 2]
    assert found[0]["arm"] == "r0"


def test_names_that_are_no_file_names_do_no_harm(tmp_path: Path) -> None:
    odd = StudyRun("a/b", "../../up-1")
    JsonlSink(tmp_path / "out").write_trial(odd, TRIALS[0], rows(0, 1), END)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out" / "runs").glob("*/*.json"))) == 1


@pytest.mark.parametrize("kind", [JsonlSink, ParquetSink])
def test_a_disk_that_refuses_is_an_absence(
    kind: type[JsonlSink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telemetry import SinkUnavailableError, rowlog

    sink = kind(tmp_path)
    sink.write_trial(STUDY, TRIALS[0], rows(0, 2))

    def full(handle: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(rowlog, "write_all", full)
        with pytest.raises(SinkUnavailableError, match="No space left"):
            sink.write_trial(STUDY, TRIALS[0], rows(2, 4))
    sink.write_trial(STUDY, TRIALS[0], rows(2, 4), END)
    assert len(list(tmp_path.glob("metrics/*/*"))) >= 1
    again = kind(tmp_path)
    again.write_trial(STUDY, TRIALS[0], rows(0, 4), END)
