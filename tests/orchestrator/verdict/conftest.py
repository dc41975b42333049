"""A small study to judge: arms with chosen true means, questions in stories, exact repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from orchestrator.verdict import ArmScores, ReplicateScores, Rule

QUESTIONS = 200
CONTROLS = {"plain": 40.0, "text": 62.0, "constant": 15.0, "mismatched": 4.0}


@pytest.fixture
def make_rule() -> Callable[..., Rule]:
    def make(**changes: Any) -> Rule:
        stated: dict[str, Any] = {
            "metric": "f1",
            "comparator": "base",
            "bands": [
                {"at_least": 2, "name": "marginal"},
                {"at_least": 5, "name": "significant"},
                {"at_least": 10, "name": "strong"},
            ],
        }
        return Rule.model_validate(stated | changes)

    return make


@pytest.fixture
def gate() -> dict[str, Any]:
    return {
        "kind": "floor_corrected_ratio",
        "control": "plain",
        "reference": "text",
        "floor": ["constant", "mismatched"],
        "target": 0.25,
    }


@pytest.fixture
def make_arm() -> Callable[..., ArmScores]:
    """An arm whose mean is exact up to seed noise of `seed_sd`; its questions are the study's."""

    def make(
        name: str,
        mean: float,
        role: str = "arm",
        seeds: int = 5,
        seed_sd: float = 0.2,
        question_sd: float = 1.0,
        **replicate: Any,
    ) -> ArmScores:
        rng = np.random.default_rng(sum(map(ord, name)))
        difficulty = np.linspace(-20, 20, QUESTIONS)
        replicates = []
        for seed in range(seeds):
            scores = difficulty + rng.normal(0, question_sd, QUESTIONS)
            scores += mean - scores.mean() + seed_sd * (seed - (seeds - 1) / 2)
            stated: dict[str, Any] = {
                "seed": seed,
                "trial_id": f"{name}-{seed}",
                "state": "done",
                "value": float(scores.mean()),
                "scores": scores.tolist(),
                "units": [f"q{q}" for q in range(QUESTIONS)],
                "clusters": [f"story{q // 4}" for q in range(QUESTIONS)],
                "selection_value": mean,
            }
            replicates.append(ReplicateScores(**(stated | replicate)))
        return ArmScores(name, role, tuple(replicates))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_study(make_arm: Callable[..., ArmScores]) -> Callable[..., list[ArmScores]]:
    def make(
        gains: Mapping[str, float], controls: Mapping[str, float] | None = None, **options: Any
    ) -> list[ArmScores]:
        arms = [make_arm("base", 40.0, "baseline", **options)]
        arms += [make_arm(name, 40.0 + gain, **options) for name, gain in gains.items()]
        levels = CONTROLS | dict(controls or {})
        return arms + [make_arm(name, at, "control", **options) for name, at in levels.items()]

    return make
