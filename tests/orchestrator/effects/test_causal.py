"""Causal effects from the trained arms of every combination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.effects.causal import causal_effects
from orchestrator.effects.effect import EffectTable
from orchestrator.factorial import coalition_arms
from orchestrator.study_file import Factorial
from orchestrator.verdict import ArmScores, ReplicateScores, Rule

from .conftest import FACTORS, TABLE

MakeArms = Callable[..., list[ArmScores]]
UNITS = 120
DESIGN = Factorial(kind="factorial", factors={name: {f"slots.{name}.on": True} for name in FACTORS})
RULE = Rule.model_validate(
    {"metric": "accuracy", "comparator": "none", "bands": [{"at_least": 1, "name": "some"}]}
)


@pytest.fixture
def make_arms() -> MakeArms:
    """Arms of the known table under some seeds; what a seed does is shared by its arms."""

    def make(seeds: int = 5, shared_sd: float = 5.0, own_sd: float = 0.1) -> list[ArmScores]:
        rng = np.random.default_rng(3)
        shared = shared_sd * rng.normal(size=seeds)
        shared -= shared.mean()
        own = own_sd * rng.normal(size=(len(TABLE), seeds))
        own -= own.mean(axis=1, keepdims=True)
        return [
            ArmScores(
                name,
                "arm",
                tuple(
                    _trial(name, seed, value + shared[seed] + own[i, seed], rng)
                    for seed in range(seeds)
                ),
            )
            for i, (name, value) in enumerate(reversed(TABLE.items()))
        ]

    return make


def _trial(arm: str, seed: int, mean: float, rng: np.random.Generator) -> ReplicateScores:
    scores: NDArray[np.float64] = rng.normal(0, 0.2, UNITS)
    scores += mean - scores.mean()
    return ReplicateScores(
        seed=seed,
        trial_id=f"{arm}-{seed}",
        state="done",
        value=mean,
        scores=scores.tolist(),
        units=[f"image{i}" for i in range(UNITS)],
        clusters=[f"image{i}" for i in range(UNITS)],
    )


def judged(arms: list[ArmScores], **changes: Any) -> EffectTable:
    rule = RULE.model_copy(update=changes)
    return causal_effects(DESIGN, coalition_arms(DESIGN), arms, rule)


def with_replicate(arms: list[ArmScores], arm: str, seed: int, **changes: Any) -> list[ArmScores]:
    """The same arms with one trial changed."""
    return [
        replace(
            one,
            replicates=tuple(
                replace(rep, **changes) if (one.arm, rep.seed) == (arm, seed) else rep
                for rep in one.replicates
            ),
        )
        for one in arms
    ]


def test_figures_follow_the_arms_by_their_names(make_arms: MakeArms) -> None:
    table = judged(make_arms())
    shapley = [table.find("shapley", name) for name in FACTORS]

    assert [one.value for one in shapley if one] == pytest.approx(
        [1.2667, 1.1167, 1.7167], abs=1e-4
    )
    total = table.find("total")
    assert total is not None
    assert total.value == pytest.approx(4.1)
    assert table.about == "8 arms x 5 seeds"


def test_what_the_arms_of_a_seed_share_cancels(make_arms: MakeArms) -> None:
    """Seeds 5 points apart, arms of a seed .1: the effects are known to tenths of a point."""
    found = judged(make_arms(shared_sd=5.0)).find("shapley", "mid")

    assert found is not None
    assert found.label == "helps"
    assert found.low is not None
    assert found.value is not None
    assert found.value - found.low < 0.5


def test_three_seeds_screen(make_arms: MakeArms) -> None:
    found = judged(make_arms(seeds=3)).find("shapley", "late")

    assert found is not None
    assert (found.label, found.why) == ("candidate", "3 seeds; a verdict takes 5")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "failed", "failure_kind": "diverged"}, "failed (diverged)"),
        ({"state": "planned"}, "planned"),
        ({"scores": [float("nan")] * UNITS}, "done without a finite score"),
    ],
)
def test_one_trial_that_is_missing_takes_every_figure_with_it(
    make_arms: MakeArms, change: dict[str, Any], said: str
) -> None:
    table = judged(with_replicate(make_arms(), "early+late", 3, **change))

    assert table.problems == (f"coalition early+late, seed 3: {said}",)
    assert all(one.value is None and said in one.why for one in table.effects)


def test_an_arm_that_the_study_lacks_is_named(make_arms: MakeArms) -> None:
    table = judged([one for one in make_arms() if one.arm != "mid"])

    assert table.problems == ("arm mid is not in the study",)
    assert {one.label for one in table.effects} == {"not estimated"}


def test_a_factor_that_training_ignores_is_a_null_player(make_arms: MakeArms) -> None:
    arms = {one.arm: one for one in make_arms()}
    ignored = {
        name: "+".join(part for part in name.split("+") if part != "mid") or "none" for name in arms
    }
    same = [ArmScores(name, "arm", arms[other].replicates) for name, other in ignored.items()]

    table = judged(same)

    assert table.null_players == ("mid",)
    found = table.find("shapley", "mid")
    assert found is not None
    assert found.label == "null player"


def test_an_example_that_one_trial_lacks_is_left_out_everywhere(make_arms: MakeArms) -> None:
    arms = make_arms()
    known = next(one for one in arms if one.arm == "late").replicates[1]
    assert known.scores is not None
    holes = [None, *list(known.scores)[1:]]

    table = judged(with_replicate(arms, "late", 1, scores=holes))

    assert table.examples == UNITS - 1
    assert not table.problems


def test_means_alone_have_intervals_over_seeds(make_arms: MakeArms) -> None:
    bare = [
        replace(
            one,
            replicates=tuple(
                replace(rep, scores=None, units=None, clusters=None) for rep in one.replicates
            ),
        )
        for one in make_arms()
    ]
    table = judged(bare)
    found = table.find("shapley", "late")

    assert table.examples is None
    assert found is not None
    assert found.label == "helps"
