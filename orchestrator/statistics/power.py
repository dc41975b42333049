"""What a study can resolve, and what it would take, from assumed or measured noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.contrasts import difference
from orchestrator.statistics.moments import Moments
from orchestrator.statistics.quantiles import t_upper

MAX_QUESTIONS = 10_000_000


@dataclass(frozen=True)
class Noise:
    """Standard deviations of one arm, in the units of the score (see ``moments`` for the model).

    Attributes:
        seed_sd: of the seed's effect on the arm's mean.
        persistent_sd: per question, of what the arm does to it whatever the seed.
        residual_sd: per question, of what one seed of the arm does to it.
        design_effect: how much clustering inflates the variance of a mean; 1 without.
    """

    seed_sd: float
    persistent_sd: float
    residual_sd: float
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        for name in ("seed_sd", "persistent_sd", "residual_sd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be a finite number, 0 or more, got {value}")
        if not (math.isfinite(self.design_effect) and self.design_effect > 0.0):
            raise ValueError(f"design_effect must be above 0, got {self.design_effect}")


@dataclass(frozen=True)
class Resolution:
    """What a design resolves, in the units of the score.

    Attributes:
        half_width: expected half-width of one difference's simultaneous interval.
        smallest_difference: the true difference whose interval excludes 0 at that ``power``.
        power: the probability of it.
    """

    half_width: float
    smallest_difference: float
    power: float


def resolution(
    noise: Noise,
    seeds: int,
    questions: int,
    comparisons: int = 1,
    confidence: float = 0.95,
    power: float = 0.8,
) -> Resolution | None:
    """What ``seeds`` x ``questions`` resolve; None for one seed, which has no interval.

    The half-width puts the true variances into the rule of ``contrasts``. The smallest difference
    adds the t quantile of the power at the seeds' degrees of freedom, the usual approximation.
    """
    if seeds < 2 or questions < 2:
        return None
    half = _half_width(noise, seeds, questions, comparisons, confidence)
    welch, excess, _ = _variances(noise, seeds, questions)
    reach = float(t_upper(1.0 - power, 2 * (seeds - 1))) * math.sqrt(welch + excess)
    return Resolution(half, half + reach, power)


def questions_needed(
    noise: Noise,
    seeds: int,
    half_width: float,
    comparisons: int = 1,
    confidence: float = 0.95,
) -> int | None:
    """Fewest questions for an expected half-width; None where the seeds alone are too few."""
    if seeds < 2:
        return None

    def excess(log_questions: float) -> float:
        questions = math.exp(log_questions)
        return _half_width(noise, seeds, questions, comparisons, confidence) - half_width

    if excess(math.log(MAX_QUESTIONS)) > 0.0:
        return None
    if excess(math.log(2)) <= 0.0:
        return 2
    from scipy import optimize

    root = optimize.brentq(excess, math.log(2), math.log(MAX_QUESTIONS), xtol=1e-9)
    return math.ceil(math.exp(float(root)) - 1e-6)


def measured_noise(arms: Sequence[Moments], questions: int) -> Noise | None:
    """Noise of a typical arm from an earlier study's arms; None unless two have two seeds each.

    Persistent noise is read from all pairs of arms, since what questions have in common cancels
    only there. Component variances below 0 count as 0; arms are averaged.
    """
    usable = [arm for arm in arms if arm.seeds > 1 and (arm.clusters or 0) > 1]
    if len(usable) < 2:
        return None
    residual = float(np.mean([arm.residual_variance for arm in usable]))
    total = float(np.mean([arm.seed_variance for arm in usable]))
    pairs = [difference(a, b) for i, a in enumerate(usable) for b in usable[i + 1 :]]
    persistent = float(np.mean([pair.excess for pair in pairs])) / 2
    return Noise(
        seed_sd=math.sqrt(max(0.0, total - residual)),
        persistent_sd=math.sqrt(persistent * questions),
        residual_sd=math.sqrt(residual * questions),
    )


def _variances(noise: Noise, seeds: int, questions: float) -> tuple[float, float, float]:
    """Expected welch, excess and paired variance of a difference of two like arms."""
    per_question = noise.design_effect / questions
    residual = 2 * noise.residual_sd**2 * per_question / seeds
    welch = 2 * noise.seed_sd**2 / seeds + residual
    excess = 2 * noise.persistent_sd**2 * per_question
    return welch, excess, excess + residual


def _half_width(
    noise: Noise, seeds: int, questions: float, comparisons: int, confidence: float
) -> float:
    welch, excess, paired = _variances(noise, seeds, questions)
    if welch + excess == 0.0:
        return 0.0
    tail = (1.0 - confidence) / (2 * comparisons)
    by_seeds = float(t_upper(tail, 2 * (seeds - 1)))
    by_questions = float(t_upper(tail, max(1.0, questions / noise.design_effect - 1)))
    critical = (welch * by_seeds + excess * by_questions) / (welch + excess)
    return max(critical * math.sqrt(welch + excess), by_questions * math.sqrt(paired))
