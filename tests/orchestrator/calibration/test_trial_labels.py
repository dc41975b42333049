"""The rule over arrays of studies labels as judging does, study by study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from orchestrator.calibration.layout import ArmLayout
from orchestrator.calibration.trial_draws import without_seed_noise
from orchestrator.calibration.trial_labels import (
    arm_labels,
    comparison_labels,
    differences,
    false_of_arm,
    false_of_comparison,
    gate_met,
    stated,
)
from orchestrator.calibration.trial_setting import TrialSetting
from orchestrator.statistics import cluster_index, moments
from orchestrator.verdict import ArmScores, Comparison, ReplicateScores, Rule, judge

STUDIES = 8
CLUSTERS = [i // 3 for i in range(24)]
SCREEN = {"full_seeds": 5, "screen_seeds": 3}


def rule(**parts: Any) -> Rule:
    bands = [{"at_least": 1.0, "name": "small"}, {"at_least": 3.0, "name": "large"}]
    return Rule.model_validate(
        {"metric": "x", "comparator": "base", "bands": bands, **SCREEN, **parts}
    )


def stated_rule(**parts: Any) -> Rule:
    comparisons = [
        {"arm": "a", "against": "b"},
        {"arm": "b", "against": "fixed", "kind": "non_inferiority", "margin": 1.0},
        {"arm": "a", "against": "fixed", "margin": 0.5},
    ]
    return rule(comparisons=comparisons, **parts)


def layout(seeds: int) -> tuple[ArmLayout, ...]:
    several = tuple(range(seeds))
    return (
        ArmLayout("base", "comparator", several),
        ArmLayout("a", "arm", several),
        ArmLayout("b", "arm", several),
        ArmLayout("fixed", "arm", (0,), deterministic=True),
        ArmLayout("still", "arm", several),
        ArmLayout("top", "control", (0,), deterministic=True),
        ArmLayout("floor", "control", (0,), deterministic=True),
        ArmLayout("other floor", "control", (0,), deterministic=True),
    )


def draw(
    arms: Sequence[ArmLayout], rng: np.random.Generator, discrete: bool
) -> dict[str, np.ndarray[Any, Any]]:
    """By arm ``[seeds, units]``: gains that lie all over the bands."""
    easy = {"base": 0.0, "top": 9.0, "floor": -9.0, "other floor": -9.0, "still": 0.0}
    found = {}
    for arm in arms:
        gain = easy.get(arm.name, rng.choice([-4.0, 0.0, 1.5, 4.0, 8.0]))
        scores = gain + rng.normal(0, rng.choice([0.3, 2.0]), (len(arm.seeds), len(CLUSTERS)))
        if not arm.deterministic:
            scores += rng.normal(0, 0.2, (len(arm.seeds), 1))
        found[arm.name] = np.round(scores / 4) * 4 if discrete else scores
    found["still"] = np.zeros_like(found["still"])
    if discrete:
        found["base"] = np.zeros_like(found["base"])
    return found


def judged(
    one: Rule, arms: Sequence[ArmLayout], scores: dict[str, np.ndarray[Any, Any]]
) -> dict[str, str]:
    units = [str(i) for i in range(len(CLUSTERS))]
    evidence = [
        ArmScores(
            arm.name,
            arm.role,  # type: ignore[arg-type]
            tuple(
                ReplicateScores(seed, state="done", scores=row, units=units, clusters=CLUSTERS)
                for seed, row in zip(arm.seeds, scores[arm.name].tolist(), strict=True)
            ),
            deterministic=arm.deterministic,
        )
        for arm in arms
    ]
    verdict = judge(one, evidence)
    labels = {arm.arm: arm.label for arm in verdict.arms if arm.arm != "base"}
    labels |= {f"{c.arm}/{c.against}": c.label for c in verdict.comparisons}
    return labels | ({"gate": str(verdict.gate.met)} if verdict.gate else {})


def vectorised(setting: TrialSetting, drawn: list[dict[str, Any]]) -> list[dict[str, str]]:
    index = cluster_index(CLUSTERS)
    batch = {
        arm.name: without_seed_noise(arm, moments(np.stack([d[arm.name] for d in drawn]), index))
        for arm in setting.arms
    }
    truth = dict.fromkeys(batch, 0.0)
    labels = {
        name: arm_labels(setting, name, ends)
        for name, ends in differences(setting, batch, truth).items()
    }
    for one, ends in stated(setting, batch).items():
        labels[f"{one.arm}/{one.against}"] = comparison_labels(setting, one, ends)
    if setting.gate is not None:
        labels["gate"] = gate_met(setting.rule, setting.gate, batch).astype(str)
    return [{name: str(of[i]) for name, of in labels.items()} for i in range(len(drawn))]


@pytest.mark.parametrize(
    ("one", "seeds", "discrete"),
    [
        (stated_rule(), 5, False),
        (stated_rule(), 5, True),
        (stated_rule(direction="lower", equivalence_margin=0.8), 5, False),
        (stated_rule(), 3, False),
        (stated_rule(), 2, True),
        (rule(equivalence_margin=0.8), 5, False),
        (stated_rule(simultaneous="dunnett"), 5, False),
        (rule(simultaneous="dunnett"), 4, True),
    ],
)
def test_labels_are_those_of_judging(one: Rule, seeds: int, discrete: bool) -> None:
    rng = np.random.default_rng(seeds)
    arms = layout(seeds)
    setting = TrialSetting(one, arms)
    drawn = [draw(arms, rng, discrete) for _ in range(STUDIES)]

    found = vectorised(setting, drawn)

    assert found == [judged(one, arms, scores) for scores in drawn]
    assert len({label for labels in found for label in labels.values()}) > (seeds > 2)


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_gates_are_met_where_judging_finds_them_met(direction: str) -> None:
    gate = {
        "kind": "floor_corrected_ratio",
        "control": "a",
        "reference": "top",
        "floor": ["floor", "other floor"],
        "target": 0.5,
    }
    inside = {"kind": "interval_inside", "control": "a", "target": [-1.0, 5.0]}
    rng = np.random.default_rng(1)
    met = set()
    for given in (gate, inside):
        one = rule(gate=given, direction=direction)
        setting = TrialSetting(one, layout(5), one.gate)
        drawn = [draw(setting.arms, rng, False) for _ in range(2 * STUDIES)]
        if direction == "lower":
            drawn = [{name: -scores for name, scores in one.items()} for one in drawn]

        found = [labels["gate"] for labels in vectorised(setting, drawn)]

        assert found == [judged(one, setting.arms, scores)["gate"] for scores in drawn]
        met |= set(found)
    assert met == {"True", "False"}


def test_a_label_is_false_just_where_it_contradicts_the_truth() -> None:
    one = rule(equivalence_margin=0.5)

    assert "harm" in false_of_arm(one, 0.0)
    assert "harm" not in false_of_arm(one, -0.1)
    assert "at least 1 (small)" in false_of_arm(one, 1.0 - 1e-9)
    assert "at least 1 (small)" not in false_of_arm(one, 1.0)
    assert "less than 1" in false_of_arm(one, 1.0)
    assert "equivalent" in false_of_arm(one, 0.5)
    assert "equivalent" not in false_of_arm(one, 0.4)
    assert "candidate" in false_of_arm(one, 0.9)
    assert "inconclusive" not in false_of_arm(one, 0.9)

    not_worse = Comparison(arm="a", against="b", kind="non_inferiority", margin=1.0)
    assert "not worse by 1" in false_of_comparison(not_worse, -1.0)
    assert false_of_comparison(not_worse, -0.9) == {"worse by 1"}
    better = Comparison(arm="a", against="b")
    assert {"better", "worse"} <= false_of_comparison(better, 0.0)
    assert "better" not in false_of_comparison(better, 0.1)
