"""Claims in a report: the figure beside what is said of it, in every form."""

from __future__ import annotations

import csv
import json
import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.claims.gathering import ArmRuns, run_figure
from orchestrator.claims.judging import judge_claims
from orchestrator.claims.result import StudyClaims
from orchestrator.claims.rule import Claim
from orchestrator.findings import Findings
from orchestrator.report import StudyInfo, render_findings, write_findings_report
from tests.orchestrator.series_study import claims as listed


@pytest.fixture
def claims() -> StudyClaims:
    asked = {name: Claim.model_validate(one) for name, one in listed().items()}
    units = {"in-zone": [0.3] * 9 + [0.5], "collapses": [0.3, 0.4], "middle": [2.0, 2.1]}
    runs = {
        name: ArmRuns(tuple(run_figure(i, units[name], one) for i in range(20)), 0, 0)
        for name, one in asked.items()
    }
    return judge_claims(asked, runs)


@pytest.fixture
def folder(claims: StudyClaims, tmp_path: Path) -> Path:
    info = StudyInfo("claimed", "claimed-1", "Does it hold?")
    write_findings_report(Findings(claims=claims), info, [], tmp_path)
    return tmp_path


def terminal(claims: StudyClaims) -> str:
    console = Console(width=80, record=True, file=StringIO())
    console.print(render_findings(Findings(claims=claims)))
    return console.export_text()


def test_the_terminal_leads_with_the_answer(claims: StudyClaims) -> None:
    text = " ".join(terminal(claims).split())
    assert text.startswith(claims.answer)
    assert "Of 3 claims 1 holds (collapses), 1 is contradicted (middle)" in text
    assert "0 of 20 [0, 0.213]" in text
    assert "at least 5" in text


def test_the_files_hold_figures_and_runs(folder: Path, claims: StudyClaims) -> None:
    with (folder / "claims.csv").open(encoding="utf-8", newline="") as file:
        found = {row["claim"]: row for row in csv.DictReader(file)}
    zone = found["in-zone"]
    assert (zone["value"], zone["runs"], zone["units"]) == ("0.9", "20", "200")
    assert (zone["expected_low"], zone["expected_high"], zone["source"]) == ("0.9", "", "the card")
    assert found["collapses"]["events"] == "0"
    with (folder / "claims-runs.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 60
    kept = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert kept == claims.to_json()


def test_the_pages_say_who_claims_what(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "in-zone: the share of steps with sv_ratio in 0.2 to 0.4 in healthy, as the card" in text
    assert "no run should" in text
    assert "(claims.png)" in text
    assert "data:image/png;base64," in (folder / "report.html").read_text(encoding="utf-8")


def test_what_was_not_measured_is_told_and_not_drawn(tmp_path: Path) -> None:
    asked = {"middle": Claim.model_validate(listed()["middle"])}
    none = judge_claims(asked, {"middle": ArmRuns((run_figure(0, [None], asked["middle"]),), 0, 0)})
    write_findings_report(Findings(claims=none), StudyInfo("c", "c-1", "?"), [], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| middle | n/a | at least 5 | not measured |" in text
    assert not (tmp_path / "claims.png").exists()
    strange = run_figure(0, [math.nan], asked["middle"])
    told = judge_claims(asked, {"middle": ArmRuns((strange,) * 6, 0, 0)})
    assert "6 of 6 runs hold values that are not finite" in terminal(told).replace("\n", " ")
