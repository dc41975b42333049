"""The studies that ship: what they plan and claim, and that the smallest run answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.reporting import report_study

STUDIES = ("training-monitor", "hf-lora-telemetry", "inference-probe")


@pytest.mark.parametrize("preset", [None, "smoke"])
@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_can_be_planned_and_asks_about_arms_and_columns_it_has(
    name: str, preset: str | None, home: Home
) -> None:
    study = Study.load(name, preset=preset, home=home.root)
    plan = study.plan()
    study.maker.check(item.trial for item in plan.to_run)
    arms = {item.trial.arm for item in plan.trials}
    assert study.file.alarms is not None or study.file.claims
    assert {claim.arm for claim in study.file.claims.values()} <= arms
    if study.file.alarms is not None:
        rule = study.file.alarms
        assert {rule.calibration, rule.unseen, *rule.synthetic} <= arms


def test_the_training_monitor_has_what_a_calibration_needs_and_calls_the_drawn_arm_synthetic(
    home: Home,
) -> None:
    study = Study.load("training-monitor", home=home.root)
    rule = study.file.alarms
    assert rule is not None
    seeds: dict[str, set[int]] = {}
    faults: dict[str, str] = {}
    for item in study.plan().trials:
        seeds.setdefault(item.trial.arm, set()).add(item.trial.seed)
        faults[item.trial.arm] = item.trial.config.model_dump()["fault"]
    assert len(seeds[rule.calibration]) >= 99
    assert len(seeds[rule.unseen]) >= 200
    assert not seeds[rule.calibration] & seeds[rule.unseen]
    others = set(seeds) - {rule.calibration, rule.unseen}
    assert all(len(seeds[arm]) >= 20 for arm in others)
    assert [arm for arm in others if faults[arm] == "representation_collapse"] == rule.synthetic
    assert {faults[arm] for arm in others} == {
        "numeric_explosion", "representation_collapse", "true_collapse", "slow_collapse"
    }  # fmt: skip
    assert {faults[rule.calibration], faults[rule.unseen]} == {"healthy"}


def test_the_inference_probe_has_each_regime_and_holds_the_source_to_its_zone(home: Home) -> None:
    study = Study.load("inference-probe", home=home.root)
    regimes = {item.trial.arm: item.trial.config.model_dump() for item in study.plan().trials}
    assert {made["regime"] for made in regimes.values()} == {
        "healthy", "lock_in", "decoupled", "geodesic"
    }  # fmt: skip
    claims = study.file.claims
    assert claims["lock-in-is-near-one"].expected == (0.85, 1.0)
    compared = {claim.arm for claim in claims.values() if claim.statistic == "median"}
    assert compared == {"lock-in", "decoupled", "geodesic"}  # a healthy chunk has no consistency


def test_the_smallest_inference_probe_answers_with_every_chunk_in_its_report(
    home: Home,
) -> None:
    from tests.orchestrator.quick_study import finish

    settings = {"steps": 3, "chunk_tokens": 4, "seeds": [0]}
    study = Study.load("inference-probe", preset="smoke", settings=settings, home=home.root)
    finish(study)
    report = report_study(study, study.plan())
    files = {path.name for path in report.files}
    assert {"chunks.csv", "phase_plot.png", "phase_plot.html", "claims.csv"} <= files
    rows = list(csv.DictReader((report.folder / "chunks.csv").open(encoding="utf-8")))
    assert len(rows) == 4 * 3
    assert {row["kappa"] for row in rows if row["arm"] == "healthy"} == {""}
    first = [row for row in rows if row["step"] == "1"]
    assert {row["kappa"] for row in first} == {""}
    later = [row for row in rows if row["step"] != "1" and row["arm"] != "healthy"]
    assert all(-1 <= float(row["kappa"]) <= 1 for row in later)
    claims = json.loads((report.folder / "claims.json").read_text())
    assert {one["name"] for one in claims["claims"]} == set(study.file.claims)
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    assert "Chunks of each regime" in page
    log = next(path for path in Path(home.root).rglob("chunks.log"))
    assert "| Cons: " in log.read_text().splitlines()[0]
