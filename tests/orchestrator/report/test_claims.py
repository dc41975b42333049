"""Claims in a report: the figure beside what is said of it, in every form."""

from __future__ import annotations

import csv
import json
import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, Group

from orchestrator.claims.gathering import ArmRuns, run_figure
from orchestrator.claims.judging import judge_claims
from orchestrator.claims.result import RunFigure, StudyClaims
from orchestrator.claims.rule import Claim
from orchestrator.findings import Findings
from orchestrator.report import StudyInfo, render_findings, write_findings_report
from orchestrator.report.sections import Section, ShownTable, section_rich
from orchestrator.verdict.answer import step_key
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


@pytest.mark.parametrize("width", [64, 72, 80])
def test_names_part_at_their_hyphens_where_a_column_is_narrow(width: int) -> None:
    row = (
        "residual-channel-survives",
        "0.00109 [0.000416, 0.00263]",
        "at most 0.1",
        "inconclusive",
    )
    table = ShownTable("", ("claim", "figure", "claimed", "label"), (row,), frozenset({1}))
    console = Console(width=width, record=True, file=StringIO())
    console.print(Group(*section_rich(Section("Claims", (), (table,)))))
    words = set(console.export_text().split())
    parts = ({"residual-", "channel-", "survives"}, {"residual-channel-", "survives"}, {row[0]})
    assert any(part <= words for part in parts)
    assert {"0.1", "inconclusive"} <= words


def test_claims_of_few_runs_are_drawn_and_shown_as_candidates(tmp_path: Path) -> None:
    asked = {"few": Claim(arm="a", statistic="mean", column="r", expected=(0.0, None))}
    figures = tuple(RunFigure(seed, value, 1) for seed, value in enumerate((0.5, 0.51, 0.52)))
    found = judge_claims(asked, {"few": ArmRuns(figures, 0, 0)}, limits={"r": (0.0, 1.0)})
    assert "1 is a candidate: holds (few)" in terminal(found)
    written = write_findings_report(
        Findings(claims=found), StudyInfo("few", "few-1", "?"), [], tmp_path
    )
    assert tmp_path / "claims.png" in written.files
    assert "| candidate: holds |" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "key", ["candidate: holds", "candidate_holds", "Candidate holds", "candidate"]
)
def test_next_steps_may_name_a_candidate_by_any_spelling(key: str) -> None:
    figures = tuple(RunFigure(seed, value, 1) for seed, value in enumerate((0.5, 0.51, 0.52)))
    asked = {"few": Claim(arm="a", statistic="mean", column="r", expected=(0.0, None))}
    found = Findings(claims=judge_claims(asked, {"few": ArmRuns(figures, 0, 0)}))
    assert step_key(key) in {step_key(outcome) for outcome in found.outcomes}
    assert step_key("holds") not in {step_key(outcome) for outcome in found.outcomes}
