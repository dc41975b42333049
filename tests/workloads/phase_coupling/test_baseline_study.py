"""The study `phase-baseline`: what it plans, for each of its models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.home import Home

RWKV = Path(__file__).parents[4] / "shared" / "data" / "tiny-rwkv4-hf"
NAME = "phase-baseline"


def configs(study: Study) -> dict[str, dict[str, Any]]:
    return {item.trial.arm: item.trial.config.model_dump() for item in study.plan().trials}


@pytest.mark.parametrize("preset", [None, "smoke"])
def test_every_trial_of_it_can_be_run(preset: str | None, home: Home) -> None:
    study = Study.load(NAME, preset=preset, home=home.root)
    plan = study.plan()
    arms = {item.trial.arm: item.trial for item in plan.to_run}
    study.maker.check(arms.values())
    assert len(plan.to_run) == len(arms) * (2 if preset == "smoke" else 5)


@pytest.mark.skipif(not RWKV.is_dir(), reason="the real RWKV-4 is not here")
def test_a_real_rwkv_is_set_in_a_word(home: Home) -> None:
    study = Study.load(NAME, settings={"model": str(RWKV)}, home=home.root)
    study.maker.check({item.trial.arm: item.trial for item in study.plan().to_run}.values())


def test_it_measures_what_the_source_did_with_margins_that_were_stated(home: Home) -> None:
    study = Study.load(NAME, home=home.root)
    base = configs(study)["modulate"]
    assert (base["sample_prompts"], base["samples"], base["sample_tokens"]) == (8, 5, 50)
    assert base["temperature"] == 0.9
    assert base["texts"] >= 64
    endpoints = study.file.endpoints
    margins = {name: one.margin for name, one in endpoints.items()}
    assert margins.pop("repetition") == 0.02
    assert set(margins.values()) == {0.01}
    assert {name for name, one in endpoints.items() if one.primary} == {"kl", "entropy"}
    assert {one.against for one in endpoints.values()} == {"base"}


def test_what_answers_it_is_compared_first_and_every_arm_once(home: Home) -> None:
    """Each further primary comparison widens the intervals of all."""
    study = Study.load(NAME, home=home.root)
    arms, endpoints = configs(study), study.file.endpoints
    asked = endpoints["kl"].arms
    assert endpoints["entropy"].arms == asked
    assert {"modulate", "norm-scalar", "norm-channel", "residual-scalar", "last-scalar"} < {*asked}
    for column in ("kl", "entropy"):
        described = endpoints[f"{column}-controls"].arms
        assert sorted([*asked, *described, "base"]) == sorted(arms)


def test_its_arms_differ_in_what_they_ask(home: Home) -> None:
    arms = configs(Study.load(NAME, home=home.root))
    assert arms["base"]["mode"] == "off"
    assert {arms[name]["mode"] for name in ("train-only", "origin")} == {"modulate_train_only"}
    assert arms["train-only"]["training"] == arms["trained"]["training"]
    assert arms["origin"]["core"]["pool"] == "sequence"
    gains = {
        name: (arms[name]["site"], arms[name]["gain"])
        for name in ("modulate", "residual-scalar", "norm-channel", "norm-scalar", "last-scalar")
    }
    assert gains == {
        "modulate": ("residual", "channel"),
        "residual-scalar": ("residual", "scalar"),
        "norm-channel": ("before_norm", "channel"),
        "norm-scalar": ("before_norm", "scalar"),
        "last-scalar": ("residual", "scalar"),
    }
    names = ("first", "modulate", "last", "last-scalar")
    assert [arms[name]["layer"] for name in names] == [0, 2, 3, 3]
