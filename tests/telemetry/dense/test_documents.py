"""What docs/telemetry.md shows runs, and does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from telemetry import Emitter, archive_events, spool_path
from telemetry.contracts import BatchMetrics, DenseTrace
from telemetry.dense.trigger import DenseTraceTrigger
from workloads.contract import TelemetryMode

PAGE = Path(__file__).parents[3] / "docs" / "telemetry.md"


def block(words: str) -> str:
    """The Python block with these words in it."""
    (found,) = (
        each
        for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if words in each
    )
    return found


def test_the_loop_of_the_page_records_its_bad_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(block("DenseRecorder"), found)
    assert found["recorder"].errors == 0
    (line,) = capsys.readouterr().out.splitlines()
    reason, step, batches = line.rsplit(" ", 2)
    assert reason.startswith("loss_spike:")
    assert (int(step), int(batches)) == (41, 96)


def test_a_trace_is_read_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".orrery" / "trials" / "b7f16e5459eea32aa8fa"
    with Emitter(spool_path(folder / "attempt-0000", 0), trial=folder.name, attempt=0) as emitter:
        batch = BatchMetrics(epoch=1, batch_idx=2, step=3, loss=float("nan"))
        emitter.snapshot(
            DenseTrace(
                trigger_reason="loss_nonfinite",
                window_start_epoch=1,
                window_end_epoch=1,
                batch_metrics=[batch],
            )
        )
    archive_events(folder)
    exec(block("read_events"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "3 nan None {}"


def test_the_page_names_every_mode_and_every_trigger() -> None:
    text = PAGE.read_text(encoding="utf-8")
    modes = re.findall(r"^\| `(\w+)` \| (?:nothing|the same|hooks)", text, re.M)
    assert tuple(modes) == TelemetryMode.__args__  # type: ignore[attr-defined]
    switches = [name for name in DenseTraceTrigger.__dataclass_fields__ if name in text]
    assert {"stage_transition", "gate_failure", "value_collapse", "entropy_collapse"} <= {*switches}
