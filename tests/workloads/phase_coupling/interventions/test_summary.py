"""What phase coupling adds to a study's report."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workloads.contract import Scores
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.interventions.circle import mean_field
from workloads.phase_coupling.interventions.comparing import (
    comparison_table,
    forced_tests,
    references,
)
from workloads.phase_coupling.interventions.kept import keep_scores, read_runs, read_scores
from workloads.phase_coupling.interventions.pictures import arms_of, units_in_order
from workloads.phase_coupling.interventions.styles import GREY, others_text, styles_of
from workloads.phase_coupling.interventions.summary import write_summary
from workloads.phase_coupling.interventions.tables import (
    arms_table,
    survival_by_arm,
    survival_table,
    training_table,
)
from workloads.phase_coupling.metrics import SAMPLE_COLUMNS, STEP_COLUMNS, TONES
from workloads.views import StudyView, SummaryTable, TrialView

PROMPTS, SAMPLES = 8, 3


def a_trial(
    folder: Path,
    arm: str,
    seed: int,
    target: float | None = None,
    mode: str = "modulate",
    effect: float = 0.0,
    artifacts: bool = True,
) -> TrialView:
    """A finished trial whose samples' entropy rises with R by `effect`."""
    rng = np.random.default_rng([seed, len(arm), int(100 * (target or 0))])
    r = 0.95 if target is None else target
    config = PhaseCouplingConfig.model_validate({"mode": mode, "target_r": target, "layer": 1})
    place = folder / arm / str(seed)
    if artifacts:
        place.mkdir(parents=True)
        _keep(place, rng, None if mode == "off" else r, effect)
    metrics: dict[str, float | None] = {"texts_kl": 0.0, "texts_entropy": 0.5, "texts_ce": 2.0}
    if mode != "off":
        metrics |= {"r_mean": r, "r_min": r - 0.01, "r_max": r + 0.01}
        metrics |= {f"residence/{tone}": 1 / len(TONES) for tone in TONES}
        metrics |= {"target_r": target, "achieved_r": None if target is None else r + 0.002}
    return TrialView(
        identity=f"{arm}-{seed}",
        label=arm,
        arm=arm,
        role="arm",
        seed=seed,
        state="done",
        config=config.model_dump(mode="json"),
        metrics=metrics,
        flags=frozenset(),
        artifacts=place if artifacts else None,
    )


def _keep(place: Path, rng: np.random.Generator, r: float | None, effect: float) -> None:
    units = [f"{p}/{k}" for p in range(PROMPTS) for k in range(SAMPLES)]
    prompts = [unit.split("/")[0] for unit in units]
    columns: dict[str, list[float | None]] = {
        name: list(rng.uniform(0.2, 0.3, len(units))) for name in SAMPLE_COLUMNS
    }
    entropy = 0.28 + 0.01 * rng.normal(size=len(units)) + effect * (r or 0.0)
    columns["entropy"] = [float(value) for value in entropy]
    columns["r_mean"] = [r] * len(units)
    survived = {"block.1": 0.02, "block.2": 0.01, "final_norm": 0.01, "logits": 0.005}
    layers: dict[str, list[float | None]] = {
        "relative_change": [0.0 if r is None else value for value in survived.values()],
        "angle": [0.0] * len(survived),
    }
    steps: dict[str, list[float | None]] = {
        name: [1e-6, 1.0, 2.0] if name == "core_gradient" else [3.0, 2.0, 1.0]
        for name in STEP_COLUMNS
    }
    scores = [
        Scores("samples", units, prompts, columns),
        Scores("layers", list(survived), list(survived), layers),
        Scores("steps", ["1", "2", "3"], ["1", "2", "3"], steps),
    ]
    keep_scores(scores, place)
    if r is not None:
        texts = np.full((4, 6), r)
        texts[0, 4:] = np.nan
        phases = np.linspace(0, 1, 5 * 8).reshape(5, 8)
        np.savez(place / "trajectories.npz", texts_r=texts, samples_r=texts, phases=phases)


def a_study(trials: Sequence[TrialView]) -> StudyView:
    return StudyView(
        name="phase-intervention",
        instance="1",
        question="Does it?",
        trials=trials,
        table=pd.DataFrame(),
        answer="no effect",
        state="answered",
        best_arm=None,
        gate_met=None,
    )


def an_intervention(folder: Path, effect: float = 0.0) -> list[TrialView]:
    arms: list[tuple[str, float | None]] = [
        ("free", None),
        ("r10", 0.1),
        ("r50", 0.5),
        ("r90", 0.9),
    ]
    return [
        a_trial(folder, arm, seed, target, effect=effect) for arm, target in arms for seed in (0, 1)
    ]


def test_a_summary_has_its_tables_pictures_and_a_page_that_works_offline(tmp_path: Path) -> None:
    trials = an_intervention(tmp_path / "trials")
    added = list(write_summary(a_study(trials), tmp_path / "report"))
    files = {one.name: one for one in added if isinstance(one, Path)}
    assert set(files) == {
        "r_over_steps.png", "training.png", "circle.png", "residence.png", "survival.png",
        "entropy_against_r.png", "samples.csv", "phase_coupling.html",
    }  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in files.values())
    page = files["phase_coupling.html"].read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", page)
    assert page.count("plotly-graph-div") == 7
    with files["samples.csv"].open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(trials) * PROMPTS * SAMPLES
    tables = [one for one in added if isinstance(one, SummaryTable)]
    assert len(tables) == 7
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    assert sum("for comparison only" in table.caption for table in tables) == 2


def test_trials_without_artifacts_leave_the_tables_of_metrics(tmp_path: Path) -> None:
    trials = [a_trial(tmp_path, "free", seed, artifacts=False) for seed in (0, 1)]
    added = list(write_summary(a_study(trials), tmp_path / "report"))
    assert [type(one) for one in added] == [SummaryTable]
    arms = added[0]
    assert isinstance(arms, SummaryTable)
    row = dict(zip(arms.head, arms.rows[0], strict=True))
    assert row["distinct-2"] == "n/a"
    assert (row["R asked"], row["R"], row["runs"]) == ("free", "0.950", "2")


def test_a_study_of_which_nothing_ended_adds_nothing(tmp_path: Path) -> None:
    assert list(write_summary(a_study([]), tmp_path)) == []


@pytest.mark.parametrize(("effect", "causal"), [(0.0, False), (0.05, True)])
def test_the_tests_over_held_arms_see_an_effect_where_there_is_one(
    tmp_path: Path, effect: float, causal: bool
) -> None:
    runs = read_runs(an_intervention(tmp_path, effect))
    (group,) = forced_tests(runs)
    other = [
        replace(r, trial=replace(r.trial, config={**r.trial.config, "mode": "x"})) for r in runs
    ]
    assert forced_tests(runs + other)[0] == group  # arms of another kind are not among them
    entropy = group[0]
    assert entropy.arms == ("r10", "r50", "r90")
    assert (entropy.source.df_between, entropy.source.df_within) == (2, 141)
    assert entropy.prompts is not None
    assert entropy.pearson is not None
    for p in (entropy.source.p, entropy.welch.p, entropy.prompts.p, entropy.pearson.p):
        assert p is not None
        assert (p < 0.001) == causal


def test_arms_are_compared_with_free_r_of_their_mode_or_with_the_model_alone(
    tmp_path: Path,
) -> None:
    forced = an_intervention(tmp_path / "forced")
    null = [
        a_trial(tmp_path / "null", f"null{target or ''}", 0, target, "modulate_train_only")
        for target in (None, 0.1)
    ]
    assert references(read_runs(null + forced)) == {
        "null": "free", "null0.1": "null", "r10": "free", "r50": "free", "r90": "free",
    }  # fmt: skip
    alone = [a_trial(tmp_path / "alone", "base", s, mode="off") for s in (0, 1)]
    coupled = [a_trial(tmp_path / "alone", "modulate", s) for s in (0, 1)]
    assert references(read_runs(coupled)) == {}
    table = comparison_table(read_runs(coupled + alone))
    assert table is not None
    assert [row[:2] for row in table.rows] == [("modulate", "base"), ("", ""), ("", "")]
    assert "the samples are the same" not in table.rows[0][-1]


def test_the_source_s_rule_is_told_where_samples_are_the_same(tmp_path: Path) -> None:
    (base,) = read_runs([a_trial(tmp_path, "base", 0, mode="off")])
    again = replace(base, trial=replace(base.trial, arm="again", config={"mode": "observe"}))
    table = comparison_table([base, again])
    assert table is not None
    assert table.rows[0][-1].endswith("the samples are the same")


def test_survival_leaves_out_what_changes_nothing(tmp_path: Path) -> None:
    runs = read_runs([a_trial(tmp_path, "base", 0, mode="off"), a_trial(tmp_path, "on", 0)])
    survival = survival_by_arm(runs)
    assert survival == {
        "on": {"block.1": 0.02, "block.2": 0.01, "final_norm": 0.01, "logits": 0.005}
    }


def test_the_table_of_training_tells_how_often_gradient_came(tmp_path: Path) -> None:
    table = training_table(read_runs([a_trial(tmp_path, "on", 0)]))
    assert table is not None
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert (row["steps"], row["steps with gradient"], row["CE first"]) == ("3", "67%", "2.000")


def test_scores_come_back_as_they_were_kept(tmp_path: Path) -> None:
    scores = Scores("texts", ["a", "b"], ["x", "x"], {"kl": [0.0, 1e-17], "r_lag1": [None, -0.5]})
    keep_scores([scores], tmp_path)
    assert read_scores(tmp_path) == {"texts": scores}
    assert read_scores(tmp_path / "none") == {}


def test_the_mean_field_s_length_is_the_order_parameter() -> None:
    phases: Any = np.array([[0.0, 0.0], [0.0, np.pi], [0.0, np.pi / 2]])
    lengths = np.hypot(*mean_field(phases).T)
    assert lengths == pytest.approx([1.0, 0.0, np.sqrt(0.5)], abs=1e-12)


def test_units_come_along_the_model_whatever_arm_was_first() -> None:
    deep = dict.fromkeys(("block.2", "block.10", "final_norm", "logits"), 0.1)
    shallow = dict.fromkeys(("block.0", "block.2", "block.10", "final_norm", "logits"), 0.1)
    expected = ["block.0", "block.2", "block.10", "final_norm", "logits"]
    assert units_in_order({"deep": deep, "shallow": shallow}) == expected


def test_few_arms_are_drawn_by_name_and_the_others_grey_with_a_line_saying_so(
    tmp_path: Path,
) -> None:
    trials = [replace(a_trial(tmp_path / "t", "control", 0), role="control")]
    trials += [a_trial(tmp_path / "t", "off", 0, mode="off")]
    trials += [a_trial(tmp_path / "t", f"arm-{i}", 0) for i in range(9)]
    styles = styles_of(arms_of(read_runs(trials)))
    named = {arm: style for arm, style in styles.items() if style.named}
    assert set(named) == {f"arm-{i}" for i in range(8)}
    assert len({style.colour for style in named.values()}) == 8
    assert {styles[arm].colour for arm in ("control", "off", "arm-8")} == {GREY}
    few = styles_of(arms_of(read_runs(trials[:3])))
    assert all(style.named for style in few.values())
    assert others_text(few, few) == ""
    files = write_summary(a_study(trials), tmp_path / "out")
    (page,) = (one for one in files if isinstance(one, Path) and one.suffix == ".html")
    text = page.read_text(encoding="utf-8")
    assert "grey: 3 other arms; what lies under the pointer tells its name" in text
    shown = re.findall(r'"name":"other arms"[^}]*?"showlegend":(true|false)', text)
    assert shown.count("true") == text.count("<h2>") - 1  # once in each, save that of tones


def test_arms_that_act_on_nothing_are_named_where_others_show_what_survives(
    tmp_path: Path,
) -> None:
    flagged = [
        replace(a_trial(tmp_path, "mixer", s), flags=frozenset({"dead_site"})) for s in (0, 1)
    ]
    trials = [*flagged, a_trial(tmp_path, "observe", 0, mode="observe")]
    arms = arms_table(trials)
    assert [row[0] for row in arms.rows] == ["mixer (dead site)", "observe"]
    assert arms.caption.endswith("Dead site: acts, but changes no logit")
    table = survival_table({"residual": {"block.2": 0.5, "logits": 0.25}}, trials)
    assert table is not None
    assert [row[0] for row in table.rows] == ["residual", "mixer (dead site)"]
    assert table.rows[1][2:5] == ("0", "0", "0")
    in_part = [flagged[0], replace(flagged[1], flags=frozenset())]
    assert arms_table(in_part).rows[0][0] == "mixer (dead site in 1 of 2)"
