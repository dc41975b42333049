"""The study `phase-training`: what it plans, and what its arms have in common."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Study
from orchestrator.home import Home
from tests.conftest import SHARED_DATA

NAME = "phase-training"
RWKV = SHARED_DATA / "tiny-rwkv4-hf"


def arms_of(study: Study) -> dict[str, dict[str, Any]]:
    return {item.trial.arm: item.trial.config.model_dump() for item in study.plan().trials}


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


@pytest.mark.parametrize("preset", [None, "smoke", "rwkv", "long"])
def test_every_trial_of_it_can_be_run(preset: str | None, home: Home) -> None:
    study = Study.load(NAME, preset=preset, home=home.root)
    plan = study.plan()
    study.maker.check(item.trial for item in plan.to_run)
    arms = arms_of(study)
    steps = {"smoke": 12, "long": 500}.get(preset or "", 60)
    assert {config["training"]["steps"] for config in arms.values()} == {steps, 10}
    others = {"rwkv", "rwkv-mixer", "llama"}
    models = {config["model"] for arm, config in arms.items() if arm not in others}
    assert models == {"embedded:rwkv" if preset == "rwkv" else "embedded:mamba"}


@pytest.mark.skipif(not RWKV.is_dir(), reason=f"needs '{RWKV}', a small real RWKV")
def test_a_real_rwkv_is_set_in_a_word(home: Home) -> None:
    study = Study.load(NAME, settings={"model": str(RWKV)}, home=home.root)
    study.maker.check(item.trial for item in study.plan().to_run)


def test_the_sources_terms_are_there_in_both_forms_and_with_its_weights(home: Home) -> None:
    arms = arms_of(Study.load(NAME, home=home.root))
    theirs, ours = (arms[name]["training"] for name in ("origin-terms", "differentiable-terms"))
    assert (theirs["terms"], ours["terms"]) == ("origin", "differentiable")
    assert without(theirs, "terms") == without(ours, "terms")
    weights = [theirs[f"{name}_weight"] for name in ("entropy", "presence", "tonal", "end")]
    assert weights == [0.1, 0.05, 0.5, 10]
    assert without(arms["ce"], "training") == without(arms["origin-terms"], "training")


@pytest.mark.parametrize(
    ("arm", "field", "value"),
    [
        ("shuffled", "driven_by", "shuffled"),
        ("constant", "driven_by", "constant"),
    ],
)
def test_a_control_differs_from_what_it_controls_in_one_thing(
    arm: str, field: str, value: str, home: Home
) -> None:
    arms = arms_of(Study.load(NAME, home=home.root))
    assert arms[arm][field] == value
    assert without(arms[arm], field) == without(arms["ce"], field)


def test_margins_are_stated_and_what_the_source_said_is_claimed(home: Home) -> None:
    file = Study.load(NAME, home=home.root).file
    primary = {name: one.margin for name, one in file.endpoints.items() if one.primary}
    assert primary == {
        "origin-terms": 0.001,
        "terms-and-order": 0.01,
        "response-to-order": 0.002,
        "response-to-tokens": 0.002,
    }
    reached = {one.arm for one in file.claims.values() if one.expected == (1e-5, None)}
    assert reached == {"ce", "mixer", "llama", "logits", "phase-block", "origin-form"}
    for name in ("rwkv-blocks", "rwkv-mixer-blocks"):
        assert file.claims[name].expected == (None, 1e-5)
        assert file.claims[name].source == "the source"
