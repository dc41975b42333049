"""Gates: met, not met, and not to be judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.verdict import ArmScores, ReplicateScores, Rule, judge

Make = Callable[..., Rule]
Study = Callable[..., list[ArmScores]]


def test_a_control_far_above_the_floor_meets_the_gate(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    verdict = judge(make_rule(gate=gate), make_study({"a": 9.0}))

    assert verdict.gate is not None
    assert verdict.gate.met is True
    assert verdict.gate.value == pytest.approx(25 / 47, rel=1e-3)  # (40 - 15) / (62 - 15)
    assert verdict.gate.floor == pytest.approx(15.0)
    assert verdict.gate.floor_arm == "constant"
    assert verdict.find("a").label == "at least 5 (significant)"  # type: ignore[union-attr]
    assert verdict.find("a").extra["floor_corrected"] == pytest.approx(34.0)  # type: ignore[union-attr]


def test_below_the_gate_no_arm_is_labelled_or_ranked(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    rule = make_rule(gate=gate, selection={})
    verdict = judge(
        rule, make_study({"a": 9.0, "b": 0.0}, {"plain": 20.0}), next_steps={"gate_not_met": ["!"]}
    )

    assert verdict.state == "gate not met"
    assert {one.label for one in verdict.arms if one.arm != "base"} == {"gate not met"}
    assert {one.band for one in verdict.arms} == {""}
    assert verdict.best is None
    assert verdict.next_steps == ("!",)
    assert verdict.answer.startswith("Gate not met, so no arm is ranked: asked 'plain' to keep")


def test_a_value_above_the_target_with_a_lower_end_below_does_not_meet_it(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    arms = make_study({"a": 9.0}, {"plain": 27.0}, seed_sd=2.0)  # (27 - 15) / 47 = 0.255
    verdict = judge(make_rule(gate=gate), arms)

    assert verdict.gate is not None
    assert verdict.gate.value is not None
    assert verdict.gate.value > 0.25
    assert verdict.gate.met is False


def test_a_value_that_has_no_interval_is_said_to_have_none(
    make_rule: Make,
) -> None:
    gate = {"kind": "interval_inside", "control": "plain", "target": [0.0, 1.0]}
    arms = [
        ArmScores(arm, role, (ReplicateScores(seed=0, state="done", value=3.0),))
        for arm, role in (("base", "comparator"), ("plain", "control"), ("a", "arm"))
    ]
    verdict = judge(make_rule(gate=gate), arms)
    assert "; got 3.0 without an interval (an interval needs two seeds" in verdict.answer


def test_the_floor_is_the_better_of_the_floors(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    verdict = judge(make_rule(gate=gate), make_study({"a": 9.0}, {"mismatched": 22.0}))

    assert verdict.gate is not None
    assert verdict.gate.floor_arm == "mismatched"


def test_a_reference_below_the_floor_does_not_meet_the_gate(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    verdict = judge(make_rule(gate=gate), make_study({"a": 9.0}, {"text": 10.0}))

    assert verdict.gate is not None
    assert (verdict.gate.met, verdict.gate.value) == (False, None)
    assert "does not score above the floor" in verdict.answer


def test_where_less_is_better_the_ratio_is_the_same(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    levels = {"plain": -40.0, "text": -62.0, "constant": -15.0, "mismatched": -4.0}
    rule = make_rule(gate=gate, direction="lower")
    verdict = judge(rule, make_study({"a": -9.0}, levels))

    assert verdict.gate is not None
    assert verdict.gate.value == pytest.approx(25 / 47, rel=1e-3)
    assert verdict.gate.floor_arm == "constant"
    assert verdict.gate.met is True


def test_a_failed_control_leaves_the_gate_unjudged(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    arms = [
        replace(arm, replicates=(replace(arm.replicates[0], state="failed"), *arm.replicates[1:]))
        if arm.arm == "text"
        else arm
        for arm in make_study({"a": 9.0})
    ]
    verdict = judge(make_rule(gate=gate), arms)

    assert verdict.gate is not None
    assert verdict.gate.met is None
    assert verdict.state == "no verdict yet"
    assert verdict.answer == (
        "No verdict yet: the gate cannot be judged (text: 4 of 5 trials have a result)."
    )


def test_a_gate_on_an_arm_that_does_not_exist_cannot_be_judged(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    verdict = judge(make_rule(gate=gate | {"reference": "nothing"}), make_study({"a": 9.0}))

    assert verdict.gate is not None
    assert verdict.gate.met is None
    assert "'nothing'" in verdict.gate.why


@pytest.mark.parametrize(
    ("target", "met"), [([37, 43], True), ([41, 43], False), ([39.999, 40.001], False)]
)
def test_the_whole_interval_must_lie_in_the_range(
    make_rule: Make, make_study: Study, gate: dict[str, Any], target: list[float], met: bool
) -> None:
    inside = {"kind": "interval_inside", "control": "plain", "target": target}
    rule = make_rule(gate=gate, real_gate=inside)
    verdict = judge(rule, make_study({"a": 9.0}), real_setting=True)

    assert verdict.gate is not None
    assert verdict.gate.met is met
    assert verdict.to_json()["gate"]["target"] == target
