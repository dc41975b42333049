"""The learned policy on simulated episodes: it learns, stays within the masks, goes on exactly."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from tests.workloads.morphogenesis.policies.simulated import SimulatedEpisode, settled, slot
from workloads.contract import TrialContext
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.policies.environment import GrowthEnvironment
from workloads.morphogenesis.policies.learned import Learned, return_metrics
from workloads.morphogenesis.policies.making import CURVE, make_policy, updates_before
from workloads.morphogenesis.policies.masks import allowed
from workloads.recording import KeptCheckpoints, RecordingEmitter

EPOCHS = 8


def config(**learned: Any) -> MorphogenesisConfig:
    """A training of six updates of eight episodes."""
    return MorphogenesisConfig(
        policy="learned", epochs=EPOCHS, slots={"early": {}, "mid": {}},  # type: ignore[dict-item]
        learned={"episodes": 48, "learning_rate": 3e-3, **learned},
    )  # fmt: skip


def context(folder: Path) -> TrialContext:
    """A context whose checkpoints stay in the folder."""
    for name in ("artifacts", "checkpoints"):
        (folder / name).mkdir(parents=True)
    return TrialContext(
        "trial-0", "trial", 0, 0, folder / "artifacts", RecordingEmitter(),
        KeptCheckpoints(folder / "checkpoints"), lambda step, metrics: None,
    )  # fmt: skip


@dataclass
class Episodes:
    """Makes episodes; `prefixes` are those it was asked for."""

    prefixes: list[str] = field(default_factory=list)

    def __call__(self, prefix: str) -> SimulatedEpisode:
        self.prefixes.append(prefix)
        return SimulatedEpisode(stream=prefix, max_epochs=EPOCHS)


def test_the_environment_is_one_by_gymnasiums_own_rules() -> None:
    environment = GrowthEnvironment(Episodes())
    check_env(environment, skip_render_check=True)


def test_the_environment_plays_so_many_episodes_of_different_names() -> None:
    episodes = Episodes()
    environment = GrowthEnvironment(episodes, update=4, steps=2 * EPOCHS)
    for _ in range(2):
        environment.reset()
        done = False
        while not done:
            done = environment.step(np.array([0, 0, 0]))[2]
    environment.reset()
    assert episodes.prefixes == ["policy/4/0/", "policy/4/1/"]
    assert len(environment.returns) == 2
    with pytest.raises(RuntimeError, match="the episode has ended"):
        environment.step(np.array([0, 0, 0]))


@pytest.mark.slow
def test_the_return_rises() -> None:
    told = make_policy(config(episodes=96), 0, Episodes()).metrics()
    assert told["return_gain"] is not None
    assert told["return_gain"] > 20


def test_a_learned_decision_is_allowed_and_says_why() -> None:
    policy = make_policy(config(episodes=16), 0, Episodes())
    episode = Episodes()("test")
    while not episode.done:
        view = episode.view()
        decision = policy.decide(view)
        assert allowed(view).permits(decision.action)
        assert decision.value is not None
        assert decision.value_std is not None
        assert decision.entropy is not None
        assert decision.entropy >= 0
        assert decision.explanation.startswith(str(decision.action))
        assert "with probability" in decision.explanation
        assert all(value is not None and value <= 0 for value in decision.log_probs.values())
        episode.step(decision)


def test_training_goes_on_from_any_checkpoint_with_the_same_numbers(tmp_path: Path) -> None:
    whole = context(tmp_path / "whole")
    expected = make_policy(config(episodes=24), 5, Episodes(), whole)
    assert isinstance(expected, Learned)
    saved = whole.checkpoints.saved  # type: ignore[attr-defined]
    assert [one.step for one in saved] == [1, 2, 3]
    assert updates_before(config(episodes=24)) == 3
    here = settled(slot("early"), slot("mid"))
    for number, start in enumerate(saved):
        again = context(tmp_path / f"again-{number}")
        again.checkpoints.start = start  # type: ignore[attr-defined]
        torch.manual_seed(number)
        random.seed(number)
        found = make_policy(config(episodes=24), 5, Episodes(), again)
        assert isinstance(found, Learned)
        assert found.returns == expected.returns
        assert found.decide(here) == expected.decide(here)


def test_training_tells_each_return_and_leaves_the_curve(tmp_path: Path) -> None:
    here = context(tmp_path / "trial")
    policy = make_policy(config(episodes=16), 0, Episodes(), here)
    assert isinstance(policy, Learned)
    rows = here.emitter.rows  # type: ignore[attr-defined]
    told = [(step, row) for step, row in rows if "policy_training/return" in row]
    assert [step for step, _ in told] == list(range(1, 17))
    assert [row["policy_training/return"] for _, row in told] == [*sum(policy.returns, ())]
    assert (here.artifacts / CURVE).exists()


def test_training_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore
    make_policy(config(episodes=8), 0, Episodes())
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]
    assert before[2] == random.getstate()


def test_a_gain_needs_two_updates() -> None:
    assert return_metrics([(1.0, 2.0)])["return_gain"] is None
    assert return_metrics([(1.0, 3.0), (9.0,), (4.0, 6.0)]) == {
        "return_first": 2.0, "return_last": 5.0, "return_gain": 3.0,
    }  # fmt: skip
