"""Of what a trial reports, the last and the best values are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.engine.reports import NAME, Reports
from tests.orchestrator.quick_study import go_on
from workloads.contract import Metric

METRICS = {
    "eval/f1": Metric("score", higher_is_better=True),
    "eval/loss": Metric("loss", higher_is_better=False),
    "eval/length": Metric("neither good nor bad"),
}


def reports(folder: Path, resumed: Path | None = None) -> Reports:
    folder.mkdir(exist_ok=True)
    return Reports(go_on, METRICS, folder, resumed)


def test_the_best_goes_by_what_the_metric_declares(tmp_path: Path) -> None:
    made = reports(tmp_path)
    for step, value in enumerate((2.0, 3.0, 1.0)):
        made(step, {"eval/f1": value, "eval/loss": value, "eval/length": value, "other": value})
    assert made.best() == {"best/f1": 3.0, "best/loss": 1.0}
    assert made.last == {"eval/f1": 1.0, "eval/loss": 1.0, "eval/length": 1.0, "other": 1.0}


def test_what_was_not_measured_is_never_the_best(tmp_path: Path) -> None:
    made = reports(tmp_path)
    for step, value in enumerate((None, math.nan, -1.0, math.nan, None)):
        made(step, {"eval/f1": value})
    assert made.best() == {"best/f1": -1.0}
    assert made.last == {"eval/f1": None}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, 0.1])
def test_another_attempt_goes_on_with_both(tmp_path: Path, value: float | None) -> None:
    first = reports(tmp_path / "first")
    first(0, {"eval/f1": 5.0})
    first(1, {"eval/f1": value})
    second = reports(tmp_path / "second", resumed=tmp_path / "first")
    assert (second.last, second.best()) == (first.last, first.best())
    second(2, {"eval/f1": 4.0})
    assert second.last == {"eval/f1": 4.0}
    assert second.best() == first.best()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"last": 3}'])
def test_reports_that_cannot_be_read_start_anew(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "first").mkdir()
    if content is not None:
        (tmp_path / "first" / NAME).write_bytes(content)
    made = reports(tmp_path / "second", resumed=tmp_path / "first")
    assert (made.last, made.best()) == ({}, {})


def test_a_report_that_ends_the_trial_is_kept_too(tmp_path: Path) -> None:
    def stop(step: int, metrics: Mapping[str, float | None]) -> None:
        raise KeyboardInterrupt

    made = Reports(stop, METRICS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        made(3, {"eval/f1": 2.0})
    assert reports(tmp_path / "next", resumed=tmp_path).best() == {"best/f1": 2.0}
