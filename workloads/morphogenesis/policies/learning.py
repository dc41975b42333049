"""How the learned policy is trained: MaskablePPO over episodes, a checkpoint after each update.

Every random number is keyed by seed and update, and an update begins with a fresh episode: going on
from a checkpoint gives the same numbers as not having stopped.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from workloads.morphogenesis.config import LearnedSettings
from workloads.morphogenesis.policies.environment import EpisodeFactory, GrowthEnvironment
from workloads.training.streams import seeded, stream_seed

WEIGHTS = "policy.pt"
PROGRESS = "policy-training.json"
GRADIENT_EPOCHS = 10
"""Passes over an update's experience."""
MINIBATCHES = 4
"""Of each pass."""


@dataclass(frozen=True)
class Progress:
    """How far the training of a policy is; the critic's spread and the entropy are of the last
    update."""

    returns: tuple[tuple[float, ...], ...] = ()
    """Of each update's episodes, unscaled."""
    value_std: float | None = None
    entropy: float | None = None

    @property
    def updates(self) -> int:
        """Updates that were made."""
        return len(self.returns)


def updates_of(settings: LearnedSettings) -> int:
    """Updates that a training makes; the last is as large as the others."""
    return math.ceil(settings.episodes / settings.episodes_per_update)


class Learner:
    """Trains a policy update by update. `model` is the learner, `progress` how far it is."""

    def __init__(
        self, settings: LearnedSettings, epochs: int, seed: int, episodes: EpisodeFactory
    ) -> None:
        self._settings, self._epochs, self._seed = settings, epochs, seed
        self._episodes = episodes
        self.progress = Progress()
        with _numbers_of(seed, "policy/weights"):
            self.environment = GrowthEnvironment(episodes)
            self.model = self._fresh_model()

    def train(self, after_update: Callable[[Progress], None]) -> None:
        """Makes the updates that are left, and tells each once its weights are there."""
        while self.progress.updates < updates_of(self._settings):
            self._update()
            after_update(self.progress)

    def save(self, folder: Path) -> None:
        """Writes weights, the optimizer's state and the progress."""
        policy = self.model.policy
        state = {"policy": policy.state_dict(), "optimizer": policy.optimizer.state_dict()}
        torch.save(state, folder / WEIGHTS)
        (folder / PROGRESS).write_text(json.dumps(vars(self.progress)))

    def load(self, folder: Path) -> None:
        """Goes on from what `save` wrote."""
        state = torch.load(folder / WEIGHTS, weights_only=True)
        self.model.policy.load_state_dict(state["policy"])
        self.model.policy.optimizer.load_state_dict(state["optimizer"])
        said = json.loads((folder / PROGRESS).read_text())
        self.progress = Progress(**{**said, "returns": tuple(map(tuple, said["returns"]))})

    def _update(self) -> None:
        """A batch of whole episodes, and the gradient steps it gives."""
        done = self.progress.updates
        with _numbers_of(self._seed, f"policy/update/{done}"):
            self.environment = GrowthEnvironment(self._episodes, done, self._steps)
            self.model.set_env(DummyVecEnv([lambda: self.environment]), force_reset=True)
            self.model.learn(self._steps, reset_num_timesteps=False)
        buffer = self.model.rollout_buffer
        self.progress = Progress(
            returns=(*self.progress.returns, tuple(self.environment.returns)),
            value_std=float(np.std(buffer.values)),
            entropy=self._entropy(),
        )

    def _entropy(self) -> float:
        """Mean entropy, in nats, of the policy where the last update's episodes went."""
        logged = self.model.logger.name_to_value["train/entropy_loss"]
        return -float(logged)

    @property
    def _steps(self) -> int:
        return self._settings.episodes_per_update * self._epochs

    def _fresh_model(self) -> Any:
        settings = self._settings
        model = MaskablePPO(
            "MlpPolicy",
            DummyVecEnv([lambda: self.environment]),
            learning_rate=settings.learning_rate,
            n_steps=self._steps,
            batch_size=max(1, math.ceil(self._steps / MINIBATCHES)),
            n_epochs=GRADIENT_EPOCHS,
            gamma=settings.gamma,
            ent_coef=settings.entropy_weight,
            policy_kwargs={"net_arch": [settings.hidden, settings.hidden]},
            device="cpu",
        )
        # Without a logger of its own it makes an empty folder for each call.
        model.set_logger(Logger(folder=None, output_formats=[]))
        return model


@contextmanager
def _numbers_of(seed: int, name: str) -> Iterator[None]:
    """Within the block all global random numbers are the stream `name`; then as before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    number = stream_seed(seed, name)
    np.random.seed(number % 2**32)
    random.seed(number)
    try:
        with seeded(seed, name):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
