"""Factorial designs: which arms they are, what they are called, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study, UsageError
from orchestrator.arms import arms_of
from orchestrator.factorial import coalition_arms, coalition_plan, subject_arms
from orchestrator.home import Home
from orchestrator.study_file import Factorial
from tests.orchestrator.quick_study import arm, quick_study, rule, run_study

THREE = {
    "drift": {"effect": 5.0},
    "loud": {"noise": 2.0},
    "extra": {"extra": {"gain": 3.0}},
}
FOUR = {**THREE, "late": {"later": 9}}


def factorial(factors: dict[str, Any], *arms: dict[str, Any], **parts: Any) -> Factorial:
    return Factorial.model_validate(
        {"kind": "factorial", "factors": factors, "arms": list(arms), **parts}
    )


def study(factors: dict[str, Any], **parts: Any) -> dict[str, Any]:
    design = {"kind": "factorial", "factors": factors, **parts.pop("design", {})}
    return quick_study(design=design, **parts)


def many(n: int) -> dict[str, Any]:
    """`n` factors that each set a key of their own."""
    return {f"f{i}": {f"key{i}": 1} for i in range(n)}


def test_three_factors_are_eight_arms_named_by_what_is_on() -> None:
    found = {a.name: a.overrides for a in arms_of(factorial(THREE))}
    assert list(found) == [
        "none", "extra", "loud", "loud+extra", "drift", "drift+extra", "drift+loud",
        "drift+loud+extra",
    ]  # fmt: skip
    assert found["none"] == {}
    assert found["drift+extra"] == {"effect": 5.0, "extra": {"gain": 3.0}}


def test_the_first_factor_is_the_first_of_a_coalition() -> None:
    arms = coalition_arms(factorial(THREE))
    assert arms["drift"] == (True, False, False)
    assert arms["loud+extra"] == (False, True, True)


def test_what_factors_change_below_one_key_is_put_together() -> None:
    slots = {"early": {"slots.early": {"blueprint": "norm"}}, "late": {"slots": {"late": {}}}}
    whole = list(arms_of(factorial(slots)))[-1]
    assert whole.overrides == {"slots": {"early": {"blueprint": "norm"}, "late": {}}}


def test_a_listed_combination_gets_its_role_and_others_come_first() -> None:
    design = factorial(THREE, arm("none", "comparator"), arm("other", "control", effect=1.0))
    roles = [(a.name, a.role) for a in arms_of(design)]
    assert roles[:3] == [("other", "control"), ("none", "comparator"), ("extra", "arm")]
    assert len(roles) == 9


def test_without_factors_only_what_is_listed_is_trained() -> None:
    design = factorial({}, arm("whole"), removal={})
    assert [a.name for a in arms_of(design)] == ["whole"]
    assert subject_arms(design) == ("whole",)


def test_removal_asks_of_the_arm_with_all_on_unless_told_otherwise() -> None:
    assert subject_arms(factorial(THREE, removal={})) == ("drift+loud+extra",)
    assert subject_arms(factorial(THREE, removal={"of": ["drift"]})) == ("drift",)
    assert subject_arms(factorial(THREE)) == ()


@pytest.mark.parametrize(
    ("design", "told"),
    [
        ({"factors": {}}, "neither factors nor removal"),
        ({"factors": {}, "removal": {}}, "no arm to train"),
        ({"factors": {"a": {"effect": 1}, "b": {}}}, "'b' overrides nothing"),
        ({"factors": {"a": {"effect": 1}, "b": {"effect": 2}}}, "'a' and 'b'.*'effect'"),
        (
            {"factors": {"a": {"extra": {"gain": 1}}, "b": {"extra.gain": 1, "noise": 2}}},
            "'a' and 'b'.*'extra.gain'",
        ),
        (
            {"factors": {"a": {"extra": None}, "b": {"extra.gain": 1}}},
            "'a' and 'b'.*'extra.gain'",
        ),
        ({"factors": {"none": {"effect": 1}}}, "called 'none'"),
        ({"factors": {"a+b": {"effect": 1}}}, r"called 'a\+b'"),
        ({"factors": {"a" * 41: {"effect": 1}}}, "41 characters, and 40 are the most"),
        ({"factors": THREE, "arms": [arm("extra+drift")]}, r"Did you mean 'drift\+extra'"),
        ({"factors": THREE, "arms": [arm("drift+drift")]}, "Did you mean 'drift'"),
        ({"factors": THREE, "arms": [arm("drift+odd", effect=6.0)]}, "no combination of the"),
        ({"factors": THREE, "arms": [arm("dritf")]}, "Did you mean 'drift'"),
        ({"factors": many(8), "budget": 40, "arms": [arm("f1+f0")]}, "f0.f1"),
        ({"factors": THREE, "removal": {"of": ["drfit"]}}, "removal.of 'drfit'.*'drift'"),
        ({"factors": THREE, "arms": [arm("drift", effect=6.0)]}, "'drift' has the name"),
        ({"factors": THREE, "arms": [{"name": "drift", "seeds": [9]}]}, "'drift' has the name"),
        ({"factors": many(17), "full": True}, "16"),
        ({"factors": many(7)}, "budget"),
        ({"factors": many(8), "budget": 4}, "budget"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_design_that_cannot_mean_anything_is_refused_before_anything_starts(
    design: dict[str, Any], told: str, home: Home
) -> None:
    with pytest.raises(UsageError, match=told):
        Study.load(quick_study(design={"kind": "factorial", **design}), home=home.root)


def test_a_sampled_design_has_all_on_and_all_off_and_is_the_same_every_time() -> None:
    design = factorial(many(8), budget=40)
    names = [a.name for a in arms_of(design)]
    assert len(names) <= 40
    assert {"none", "+".join(many(8))} <= set(names)
    assert names == [a.name for a in arms_of(factorial(many(8), budget=40))]
    assert not coalition_plan(design).enumerated


def test_a_plan_says_how_many_combinations_it_trains(home: Home) -> None:
    made = Study.load(study(THREE), home=home.root).plan()
    assert any("8 of 8 combinations of drift, loud, extra" in note for note in made.notes)


def test_a_plan_says_so_of_a_factor_that_changes_nothing(home: Home) -> None:
    factors = {"drift": {"effect": 5.0}, "dull": {"noise": 1.0}}
    notes = Study.load(study(factors), home=home.root).plan().notes
    assert any("factor 'dull' changes nothing" in note for note in notes)
    assert not any("factor 'drift' changes nothing" in note for note in notes)


def test_a_rule_compares_with_a_combination(home: Home) -> None:
    made = Study.load(study(THREE, verdict=rule("none")), home=home.root)
    assert made.file.verdict is not None
    with pytest.raises(UsageError, match="nothing"):
        Study.load(study(THREE, verdict=rule("nothing")), home=home.root)


@pytest.mark.slow
def test_a_fourth_factor_runs_exactly_the_new_arms(home: Home) -> None:
    assert run_study(study(THREE, seeds=[0]), home).ran == 8
    wider = Study.load(study(FOUR, seeds=[0]), home=home.root)
    plan = wider.plan()
    assert plan.known == 8
    assert sorted(item.trial.arm for item in plan.to_run) == sorted(
        name for name in coalition_arms(factorial(FOUR)) if "late" in name.split("+")
    )
    old = next(item for item in plan.trials if item.trial.arm == "drift+loud")
    assert old.record.outcome is not None
    known = old.record.outcome.metrics
    run_study(study(FOUR, seeds=[0]), home, only=["drift+loud"], again=True)
    after = Study.load(study(FOUR, seeds=[0]), home=home.root).plan()
    anew = next(item for item in after.trials if item.trial.arm == "drift+loud")
    assert anew.record.outcome is not None
    assert anew.record.outcome.metrics == known
    assert anew.record.attempts == 2


def test_paths_in_a_factors_overrides_are_named_for_good(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.txt").write_text("words")
    monkeypatch.chdir(tmp_path)
    made = Study.load(study({"data": {"data": "data.txt"}}), home=home.root)
    assert isinstance(made.file.design, Factorial)
    assert made.file.design.factors["data"] == {"data": str(tmp_path / "data.txt")}
    assert Study.load(study({"data": {"data": "data.txt"}}), home=home.root).instance == (
        made.instance
    )
