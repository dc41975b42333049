"""The table of trials on a page: not wider than can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.findings import Findings
from orchestrator.report import StudyInfo, write_findings_report
from orchestrator.report.rows import MOST_METRICS, trial_columns


def trials(metrics: int) -> list[dict[str, Any]]:
    """Two trials that differ in the metrics of an even number."""
    return [
        {
            "id": str(row),
            "arm": "ab"[row],
            "seed": 0,
            **{f"m{i}": i if i % 2 else i + row for i in range(metrics)},
        }
        for row in range(2)
    ]


def test_a_narrow_table_is_whole() -> None:
    table = trials(MOST_METRICS)
    assert trial_columns(table) == (list(table[0]), "")


def test_a_wide_table_shows_what_is_asked_and_then_what_varies() -> None:
    names, left = trial_columns(trials(40), ("m7", "texts_m7", "m38", "m7"))
    assert names[:5] == ["id", "arm", "seed", "m7", "m38"]
    assert names[5:] == [f"m{i}" for i in range(0, 20, 2)]
    assert left == "28 more metrics of each are in trials.csv."


def test_the_pages_say_what_the_csv_alone_has(tmp_path: Path) -> None:
    info = StudyInfo("wide", "wide-1", "?", asked=("m7",))
    write_findings_report(Findings(), info, trials(40), tmp_path)
    line = "28 more metrics of each are in trials.csv."
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert line in text
        assert "m7" in text
        assert "m39" not in text
    assert "m39" in (tmp_path / "trials.csv").read_text(encoding="utf-8")
