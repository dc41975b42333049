"""Simulated studies with a known answer: what the decision rule's error rates are made of.

All randomness comes from one seed, so a simulation repeats exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.moments import Moments, moments

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class StudyModel:
    """A study to simulate; every standard deviation is in the units of the score.

    Attributes:
        arms: arms compared, the comparator (index 0 in what is drawn) not counted.
        seeds, questions, cluster_size: the last is the questions of one cluster, a divisor.
        seed_sd: over seeds of one arm.
        question_sd: of one arm's score on one question around that arm's mean, beyond what all
            arms share: persistent and residual together.
        persistent_share: part of ``question_sd**2`` that all seeds of an arm share.
        cluster_share: part of ``question_sd**2`` that the questions of a cluster share.
        noisy_arm, noise_factor: the arm (0 is the comparator) whose every deviation is multiplied.
    """

    arms: int = 10
    seeds: int = 5
    questions: int = 500
    cluster_size: int = 1
    seed_sd: float = 0.0
    question_sd: float = 22.0
    persistent_share: float = 0.5
    cluster_share: float = 0.0
    noisy_arm: int | None = None
    noise_factor: float = 4.0

    def question_se(self) -> float:
        """Standard error of one seed's mean over the questions."""
        return float(self.question_sd / np.sqrt(self.questions))


def draw(model: StudyModel, studies: int, rng: np.random.Generator) -> Scores:
    """Scores ``[studies, arms + 1, seeds, questions]`` of studies in which every true mean is 0."""
    arms, seeds, questions = model.arms + 1, model.seeds, model.questions
    if questions % model.cluster_size:
        raise ValueError(f"{questions} questions do not make clusters of {model.cluster_size}")
    clusters = questions // model.cluster_size
    variance = model.question_sd**2

    def noise(share: float, *shape: int) -> Scores:
        if share == 0.0:
            return np.zeros((1,) * len(shape), dtype=np.float32)
        values = rng.standard_normal(shape, dtype=np.float32)
        return values * np.float32(np.sqrt(share * variance))

    def questions_noise(share: float, copies: int) -> Scores:
        own = noise(share * (1 - model.cluster_share), studies, arms, copies, questions)
        if model.cluster_share == 0.0:
            return own
        common = noise(share * model.cluster_share, studies, arms, copies, clusters)
        return own + np.repeat(common, model.cluster_size, axis=-1)

    scores = questions_noise(1.0 - model.persistent_share, seeds)
    scores = scores + questions_noise(model.persistent_share, 1)
    seed = rng.standard_normal((studies, arms, seeds, 1), dtype=np.float32)
    scores = scores + np.float32(model.seed_sd) * seed
    if model.noisy_arm is not None:
        scores[:, model.noisy_arm] *= np.float32(model.noise_factor)
    return scores


def simulate(
    model: StudyModel, studies: int, seed: int, chunk: int = 100
) -> Iterator[list[Moments]]:
    """Yield, per chunk of studies, each arm's moments with a ``[studies]`` batch; 0 compares."""
    rng = np.random.default_rng(seed)
    index = np.arange(model.questions) // model.cluster_size
    for start in range(0, studies, chunk):
        scores = draw(model, min(chunk, studies - start), rng)
        yield [moments(scores[:, arm], index) for arm in range(model.arms + 1)]
