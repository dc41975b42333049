"""Comparisons that a rule states beside those with its comparator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.ledger import short_hash
from orchestrator.study import Study
from orchestrator.verdict import ArmScores, ComparisonVerdict, Rule, judge

Make = Callable[..., Rule]
MakeStudy = Callable[..., list[ArmScores]]


def stated(arm: str, against: str, **more: Any) -> dict[str, Any]:
    return {"arm": arm, "against": against, **more}


def not_worse(arm: str, against: str, margin: float) -> dict[str, Any]:
    return stated(arm, against, kind="non_inferiority", margin=margin)


def compared(rule: Rule, arms: list[ArmScores]) -> dict[tuple[str, str], ComparisonVerdict]:
    return {(one.arm, one.against): one for one in judge(rule, arms).comparisons}


@pytest.mark.parametrize(
    ("gain", "asked", "label"),
    [
        (6.0, {}, "better"),
        (6.0, {"margin": 4.0}, "better by 4"),
        (3.0, {"margin": 4.0}, "inconclusive"),
        (0.1, {}, "inconclusive"),
        (-6.0, {}, "worse"),
        (0.1, {"kind": "non_inferiority", "margin": 2.0}, "not worse by 2"),
        (-1.9, {"kind": "non_inferiority", "margin": 2.0}, "inconclusive"),
        (-6.0, {"kind": "non_inferiority", "margin": 2.0}, "worse by 2"),
        (6.0, {"kind": "non_inferiority", "margin": 2.0}, "not worse by 2"),
    ],
)
def test_a_stated_comparison_is_decided_by_its_interval(
    make_rule: Make, make_study: MakeStudy, gain: float, asked: dict[str, Any], label: str
) -> None:
    rule = make_rule(comparisons=[stated("grown", "static", **asked)])

    (one,) = judge(rule, make_study({"grown": gain + 1.0, "static": 1.0})).comparisons

    assert one.label == label
    assert one.delta == pytest.approx(gain)
    assert one.ci_low is not None
    assert one.ci_high is not None
    assert one.ci_low < gain < one.ci_high
    assert one.sentence.startswith("grown against static (")
    assert label in one.sentence


def test_where_less_is_better_a_gain_is_a_fall(make_rule: Make, make_study: MakeStudy) -> None:
    rule = make_rule(direction="lower", comparisons=[stated("a", "b"), not_worse("b", "a", 2.0)])

    labels = [one.label for one in judge(rule, make_study({"a": -6.0, "b": 0.0})).comparisons]

    assert labels == ["better", "worse by 2"]


def test_ends_widen_with_every_comparison_that_is_stated(
    make_rule: Make, make_study: MakeStudy
) -> None:
    arms = make_study({"a": 2.0, "b": 1.0, "c": 0.0})
    alone = compared(make_rule(comparisons=[stated("a", "b")]), arms)["a", "b"]
    family = [stated("a", "b"), stated("a", "c"), not_worse("b", "c", 1.0)]
    among = compared(make_rule(comparisons=family), arms)["a", "b"]

    assert alone.ci_low is not None
    assert among.ci_low is not None
    assert among.ci_low < alone.ci_low


def test_a_control_may_be_compared_with(make_rule: Make, make_study: MakeStudy) -> None:
    rule = make_rule(comparisons=[stated("a", "constant")])

    assert compared(rule, make_study({"a": 0.0}))["a", "constant"].label == "better"


def test_three_seeds_have_candidates_only(make_rule: Make, make_study: MakeStudy) -> None:
    rule = make_rule(comparisons=[stated("a", "b"), not_worse("b", "a", 2.0)])

    better, worse = judge(rule, make_study({"a": 20.0, "b": 0.0}, seeds=3)).comparisons

    assert (better.label, worse.label) == ("candidate", "inconclusive")
    assert "3 seeds; a verdict takes 5" in better.sentence


def test_no_comparison_is_decided_before_all_trials_ended(
    make_rule: Make, make_study: MakeStudy
) -> None:
    arms = make_study({"a": 20.0, "b": 0.0})
    verdict = judge(make_rule(comparisons=[stated("a", "b")]), arms, planned=6)

    assert [one.label for one in verdict.comparisons] == ["no verdict yet"]


def test_an_arm_that_lost_a_trial_is_not_compared(
    make_rule: Make, make_study: MakeStudy, make_arm: Callable[..., ArmScores]
) -> None:
    lost = make_arm("b", 40.0, state="failed", failure_kind="crashed")
    rule = make_rule(comparisons=[stated("a", "b")])

    (one,) = judge(rule, [*make_study({"a": 20.0}), lost]).comparisons

    assert one.label == "incomplete"
    assert "b is incomplete" in one.why


def test_equal_scores_are_identical_and_not_tested(make_rule: Make, make_study: MakeStudy) -> None:
    arms = make_study({"a": 1.0})
    twin = ArmScores("twin", "arm", arms[1].replicates)
    rule = make_rule(comparisons=[not_worse("twin", "a", 1.0)])

    assert compared(rule, [*arms, twin])["twin", "a"].label == "identical"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([stated("a", "a")], "compared with itself"),
        ([stated("a", "b", kind="non_inferiority")], "needs a `margin`"),
        ([stated("a", "b", margin=0.0)], "greater than 0"),
        ([stated("a", "b"), stated("a", "b")], "given twice"),
        ([stated("a", "b", kind="equal")], "superiority"),
    ],
)
def test_a_comparison_that_cannot_be_decided_is_refused(
    make_rule: Make, wrong: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        make_rule(comparisons=wrong)


def test_an_arm_that_the_study_lacks_is_named(make_rule: Make, make_study: MakeStudy) -> None:
    with pytest.raises(ValueError, match="'grwon' is not an arm; arms: base, grown"):
        judge(make_rule(comparisons=[stated("grwon", "base")]), make_study({"grown": 1.0}))


def test_a_rule_without_comparisons_hashes_as_it_did_before_there_were_any(
    make_rule: Make,
) -> None:
    plain, asked = make_rule(), make_rule(comparisons=[stated("a", "b")])

    assert "comparisons" not in plain.canonical()
    assert plain.canonical() != asked.canonical()
    assert asked.canonical() != make_rule(comparisons=[not_worse("a", "b", 1.0)]).canonical()


@pytest.mark.parametrize(
    ("study", "instance"),
    [
        ("lora-sweep", "lora-sweep-edf3b91b2c"),
        ("lora-sweep-collapse", "lora-sweep-collapse-bcd079a28f"),
    ],
)
def test_the_studies_that_were_shipped_before_keep_their_names(
    study: str, instance: str, tmp_path: Any
) -> None:
    assert Study.load(study, home=tmp_path).instance == instance


def test_the_rule_of_a_shipped_study_keeps_its_hash(tmp_path: Any) -> None:
    rule = Study.load("lora-sweep", home=tmp_path).file.verdict

    assert rule is not None
    assert short_hash(rule.canonical()) == "0c116affd2"


def test_comparisons_are_in_the_json_of_a_verdict(make_rule: Make, make_study: MakeStudy) -> None:
    rule = make_rule(comparisons=[not_worse("a", "base", 2.0)])
    data = json.loads(json.dumps(judge(rule, make_study({"a": 1.0})).to_json(), allow_nan=False))

    assert data["comparisons"][0] | {"sentence": ""} == {
        "arm": "a",
        "against": "base",
        "kind": "non_inferiority",
        "margin": 2.0,
        "delta": pytest.approx(1.0),
        "ci_low": pytest.approx(data["comparisons"][0]["ci_low"]),
        "ci_high": pytest.approx(data["comparisons"][0]["ci_high"]),
        "label": "not worse by 2",
        "why": "",
        "sentence": "",
    }
