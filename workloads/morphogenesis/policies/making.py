"""Makes the policy that a configuration names; a learned one is trained here first."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.contract import TrialContext
from workloads.morphogenesis.config import LearnedSettings, MorphogenesisConfig
from workloads.morphogenesis.policies.base import TrialPolicy
from workloads.morphogenesis.policies.fixed import Random, Schedule, Waiting
from workloads.morphogenesis.policies.heuristic import Heuristic

if TYPE_CHECKING:
    from workloads.morphogenesis.policies.environment import EpisodeFactory
    from workloads.morphogenesis.policies.learning import Learner, Progress

CURVE = "policy-training.json"
"""The artifact that has the return of each training episode."""
TRAINING_METRICS = (
    "policy_training/return",
    "policy_training/value_std",
    "policy_training/entropy",
)
"""Metrics of the training: the return by episode, the others by update. Steps count episodes."""


def updates_before(config: MorphogenesisConfig) -> int:
    """Checkpoints that are made before the trial's own episode: its steps start from there."""
    if config.policy != "learned":
        return 0
    settings = config.learned or LearnedSettings()
    return math.ceil(settings.episodes / settings.episodes_per_update)


def make_policy(
    config: MorphogenesisConfig,
    seed: int,
    episode_factory: EpisodeFactory | None = None,
    context: TrialContext | None = None,
) -> TrialPolicy:
    """The policy for one episode, as it was at the latest checkpoint if there is one.

    `learned` trains on episodes that `episode_factory` makes, each with the prefix of random
    streams it is given; with a `context` it saves a checkpoint after each update, at the steps 1 to
    `updates_before(config)`, and tells the returns. A later checkpoint of the trial must hold what
    the policy's `save` writes into its folder. Raises ValueError where episodes are needed but no
    factory is given.
    """
    policy = config.policy
    latest = None if context is None else context.checkpoints.latest()
    if policy == "learned":
        return _learned(config, seed, episode_factory, context, latest.path if latest else None)
    made: TrialPolicy
    if policy == "heuristic":
        made = Heuristic()
    elif policy == "random":
        made = Random(seed)
    elif policy == "schedule":
        made = Schedule({name: slot for name, slot in config.slots.items() if slot is not None})
    elif policy == "static":
        made = Waiting("everything was grown from the start")
    else:
        made = Waiting("nothing is to grow")
    if latest is not None:
        made.load(latest.path)
    return made


def _learned(
    config: MorphogenesisConfig,
    seed: int,
    episodes: EpisodeFactory | None,
    context: TrialContext | None,
    folder: Path | None,
) -> TrialPolicy:
    from workloads.morphogenesis.policies.learned import Learned
    from workloads.morphogenesis.policies.learning import Learner

    if episodes is None:
        raise ValueError("the policy 'learned' is trained on episodes: give an episode_factory")
    settings = config.learned or LearnedSettings()
    learner = Learner(settings, config.epochs, seed, episodes)
    if folder is not None:
        learner.load(folder)
    learner.train(lambda progress: _told(context, learner, progress))
    if context is not None and context.rank == 0:
        curve = {"returns_by_update": learner.progress.returns}
        (context.artifacts / CURVE).write_text(json.dumps(curve))
    return Learned(learner)


def _told(context: TrialContext | None, learner: Learner, progress: Progress) -> None:
    """Tells an update's returns and saves a checkpoint, which may end the trial (`TrialStopped`).

    Rank 0 alone: all ranks train the same policy from the same numbers.
    """
    if context is None or context.rank != 0:
        return
    *before, latest = progress.returns
    for number, earned in enumerate(latest, start=sum(map(len, before)) + 1):
        values: dict[str, float | None] = {"policy_training/return": earned}
        context.emitter.metrics(values, step=number)
    spread = {
        "policy_training/value_std": progress.value_std,
        "policy_training/entropy": progress.entropy,
    }
    context.emitter.metrics(spread, step=sum(map(len, progress.returns)))
    with context.checkpoints.saving(progress.updates) as place:
        learner.save(place)
