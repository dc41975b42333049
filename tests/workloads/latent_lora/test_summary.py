"""What a study's summary writes: from whole studies, unfinished ones and empty ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workloads.latent_lora.diagnostics import FILE
from workloads.latent_lora.report_section import report_section
from workloads.latent_lora.summary import f1_of, sweep_summary
from workloads.latent_lora.workload import LatentLora
from workloads.views import StudyView, TrialView

COLUMNS = (
    "arm role n mean ci_low ci_high delta delta_ci_low delta_ci_high label band rank alpha layers"
)
BASELINE = ("baseline", "comparator", 2, 31.0, 29.0, 33.0, None, None, None, "comparator", "")
ARM = ("r8_a16_full", "arm", 2, 37.0, 35.0, 39.0, 6.0, 2.5, 9.5, "at least 2 (marginal)", "")
CONTROL = ("k_token_ce", "control", 2, 4.0, 1.0, 7.0, -27.0, -30.0, -24.0, "control", "")


def trial(arm: str, folder: Path, seed: int, *, record: dict[str, Any] | None) -> TrialView:
    artifacts = folder / f"{arm}-{seed}"
    artifacts.mkdir(parents=True)
    if record is not None:
        line = json.dumps({"type": "full_eval", "split": "test", **record})
        (artifacts / FILE).write_text(f"{line}\n{{broken")
    return TrialView(
        identity=f"{arm}{seed}",
        label=arm,
        arm=arm,
        role="arm",
        seed=seed,
        state="done",
        config={"k_token_ce_weight": 0.5 if arm == "k_token_ce" else 0.0, "model": "m"},
        metrics={"f1": 30.0, "em": 4.0, "dev_f1": 29.0},
        flags=frozenset({"collapsed"} if arm == "k_token_ce" else ()),
        artifacts=artifacts,
    )


def view(tmp_path: Path, **changed: Any) -> StudyView:
    trials = [
        *(trial("baseline", tmp_path, seed, record={"f1": 0.31, "em": 0.04}) for seed in (0, 1)),
        *(trial("r8_a16_full", tmp_path, seed, record={"text_f1": 0.37}) for seed in (0, 1)),
        *(trial("k_token_ce", tmp_path, seed, record={"other": 1}) for seed in (0, 1)),
    ]
    rows = [
        (*BASELINE, 0, 0, 0),
        (*ARM, 8, 16, 8),
        (*CONTROL, 0, 0, 0),
    ]
    values: dict[str, Any] = {
        "name": "lora-sweep",
        "instance": "lora-sweep-0123",
        "question": "Does LoRA help?",
        "trials": trials,
        "table": pd.DataFrame(rows, columns=COLUMNS.split()),
        "answer": "Yes: 1 of 1 arm gains.",
        "state": "verdict",
        "best_arm": "r8_a16_full",
        "gate_met": True,
        "next_steps": ("Update REPORT.md with this finding.",),
    }
    return StudyView(**{**values, **changed})


def test_the_summary_reads_f1_under_either_name_and_prints_na_where_there_is_none(
    tmp_path: Path,
) -> None:
    lines = sweep_summary(view(tmp_path)).splitlines()
    by_arm = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert by_arm["baseline"][4] == "31.00"
    assert by_arm["r8_a16_full"][4] == "37.00"
    assert by_arm["k_token_ce"][4] == "n/a"
    assert by_arm["k_token_ce"][6] == "collapsed"


@pytest.mark.parametrize(
    ("record", "points"),
    [({"f1": 0.5}, 50.0), ({"text_f1": 0.5}, 50.0), ({"f1": None}, None), ({}, None)],
)
def test_a_score_that_is_absent_is_none(record: dict[str, Any], points: float | None) -> None:
    assert f1_of(record) == points


def test_all_files_are_written(tmp_path: Path) -> None:
    written = {p.name for p in LatentLora().summarise(view(tmp_path), tmp_path / "report")}
    assert written == {
        "sweep_summary.txt",
        "comparison.csv",
        "comparison.txt",
        "best_configuration.json",
        "report_section.md",
        "next_steps.md",
        "f1_by_configuration.png",
        "f1_by_lora.png",
    }
    assert all((tmp_path / "report" / name).stat().st_size > 0 for name in written)
    steps = (tmp_path / "report" / "next_steps.md").read_text()
    assert "1. Update REPORT.md with this finding." in steps


def test_an_empty_sweep_is_summarised(tmp_path: Path) -> None:
    empty = view(
        tmp_path,
        trials=[],
        table=pd.DataFrame(),
        best_arm=None,
        gate_met=None,
        answer="no verdict yet",
        next_steps=(),
    )
    written = {p.name for p in LatentLora().summarise(empty, tmp_path / "report")}
    assert "sweep_summary.txt" in written
    assert not any(name.endswith(".png") for name in written)
    assert "No verdict yet: 0 of 0 trials" in (tmp_path / "report/report_section.md").read_text()


def test_the_section_is_filled_from_the_verdict(tmp_path: Path) -> None:
    section = report_section(view(tmp_path))
    assert "### 2.9 Hypothesis 9: LoRA with Minimal Supervision" in section
    assert "- Baseline (no LoRA): 31.0 [29.0, 33.0] F1 (gate met)" in section
    assert "Best LoRA (r=8, α=16, layers=8)" in section
    assert "(Δ=6.0 [2.5, 9.5])" in section
    assert "K-token CE (k_token_ce): collapsed; the detector fired in 2 of 2" in section
    assert "LoRA with minimal supervision improves" in section


def test_the_section_ranks_nothing_when_the_gate_is_not_met(tmp_path: Path) -> None:
    section = report_section(view(tmp_path, gate_met=False, best_arm=None, answer="Asked more."))
    assert "Gate not met" in section
    assert "improves" not in section.split("**Lesson Learned**")[1]
    assert "Best LoRA: n/a" in section


def test_the_section_draws_no_lesson_before_all_trials_ended(tmp_path: Path) -> None:
    study = view(tmp_path)
    running = TrialView(**{**vars(study.trials[0]), "state": "running"})
    section = report_section(view(tmp_path / "b", trials=[running, *study.trials[1:]]))
    assert "No verdict yet: 5 of 6 trials" in section
