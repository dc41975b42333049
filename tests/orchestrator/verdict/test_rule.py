"""What a decision rule may state, and what its hash depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.verdict import RangeGate, RatioGate, Rule

Make = Callable[..., Rule]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bands": []}, "at least 1 item"),
        ({"bands": [{"at_least": 5, "name": "a"}, {"at_least": 2, "name": "b"}]}, "must rise"),
        ({"bands": [{"at_least": 0, "name": "a"}]}, "greater than 0"),
        ({"confidence": 95}, "less than 1"),
        ({"confidence": float("nan")}, "confidence"),
        ({"comparater": "x"}, "comparater"),
        ({"screen_seeds": 7}, "more than full_seeds"),
        ({"selection": {"split": "test"}}, "both 'test'"),
        ({"gate": {"kind": "nothing", "control": "x"}}, "floor_corrected_ratio"),
        ({"gate": {"kind": "interval_inside", "control": "x", "target": [28, 20]}}, "low < high"),
        ({"equivalence_margin": -1}, "greater than 0"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_refused(
    make_rule: Make, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        make_rule(**changes)


def test_a_rule_cannot_be_changed(make_rule: Make) -> None:
    with pytest.raises(ValidationError):
        make_rule().confidence = 0.5


def test_names_of_bands_and_units_do_not_change_the_canonical_rule(make_rule: Make) -> None:
    renamed = make_rule(unit="F1 points", bands=[{"at_least": b, "name": "x"} for b in (2, 5, 10)])

    assert renamed.canonical() == make_rule().canonical()


@pytest.mark.parametrize("changes", [{"confidence": 0.9}, {"direction": "lower"}, {"metric": "em"}])
def test_what_decides_changes_the_canonical_rule(make_rule: Make, changes: dict[str, Any]) -> None:
    assert make_rule(**changes).canonical() != make_rule().canonical()


def test_the_real_setting_has_its_own_gate(make_rule: Make, gate: dict[str, Any]) -> None:
    inside = {"kind": "interval_inside", "control": "plain", "target": [20, 28]}
    rule = make_rule(gate=gate, real_gate=inside)

    assert isinstance(rule.gate_for(real_setting=False), RatioGate)
    assert isinstance(rule.gate_for(real_setting=True), RangeGate)
    assert isinstance(make_rule(gate=gate).gate_for(real_setting=True), RatioGate)


def test_a_rule_survives_json(make_rule: Make, gate: dict[str, Any]) -> None:
    rule = make_rule(gate=gate, selection={})

    assert Rule.model_validate_json(rule.model_dump_json()) == rule
