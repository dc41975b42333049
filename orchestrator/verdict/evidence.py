"""What a verdict is made from: arms, their replicates, and their scores by question."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from orchestrator.statistics import ScoredQuestions

Role = Literal["baseline", "comparator", "arm", "control"]

ENDED = frozenset({"done", "failed", "pruned"})
"""States after which a trial gives no more evidence unless someone acts."""


@dataclass(frozen=True)
class ReplicateScores:
    """One trial: an arm under one seed.

    Attributes:
        seed, trial_id: which trial.
        state: planned, running, done, failed, preempted, cancelled or pruned.
        value: its mean metric; None if it was not measured. Used where there are no `scores`.
        scores: ``[questions]`` in the units of the metric; None or NaN for one not measured.
        units, clusters: ``[questions]`` ids of the questions and of what they belong to.
        flags: such as `collapsed` or `diverged`.
        failure_kind: why a failed trial failed, such as `diverged`.
        selection_value: its mean metric on the split that chooses a best configuration.
        code_digest, device, dtype, ranks: what the numbers were made with; None if not known.
    """

    seed: int
    trial_id: str = ""
    state: str = "planned"
    value: float | None = None
    scores: Sequence[float | None] | None = None
    units: Sequence[Hashable] | None = None
    clusters: Sequence[Hashable] | None = None
    flags: frozenset[str] = frozenset()
    failure_kind: str | None = None
    selection_value: float | None = None
    code_digest: str | None = None
    device: str | None = None
    ranks: int | None = None
    dtype: str | None = None

    @property
    def done(self) -> bool:
        """Whether it ended with a result."""
        return self.state == "done"

    @cached_property
    def scored(self) -> bool:
        """Whether it ended with a score: a finite mean, or at least one measured question."""
        if not self.done:
            return False
        if self.scores is None:
            return self.value is not None and math.isfinite(self.value)
        return any(score is not None and math.isfinite(score) for score in self.scores)

    @cached_property
    def questions(self) -> ScoredQuestions | None:
        """Its scores by question; None where it has none.

        Raises:
            ValueError: scores, units and clusters of different lengths, or a question twice.
        """
        if self.scores is None:
            return None
        from orchestrator.statistics import scored_questions

        try:
            return scored_questions(self.scores, self.units, self.clusters)
        except ValueError as error:
            raise ValueError(f"trial '{self.trial_id}' (seed {self.seed}): {error}") from error

    @cached_property
    def mean_score(self) -> float | None:
        """Mean of the measured questions, or the stated value where there are none."""
        import numpy as np

        if self.questions is None:
            return None if self.value is None else float(self.value)
        measured = self.questions.scores[np.isfinite(self.questions.scores)]
        return float(measured.mean()) if measured.size else None

    @property
    def ended(self) -> bool:
        """Whether no more evidence will come from it by itself."""
        return self.state in ENDED

    @property
    def diverged(self) -> bool:
        """Whether it diverged, with or without a score."""
        return "diverged" in self.flags or self.failure_kind == "diverged"


@dataclass(frozen=True)
class ArmScores:
    """One arm with its replicates, planned ones included, and the factors that define it."""

    arm: str
    role: Role
    replicates: tuple[ReplicateScores, ...] = ()
    factors: Mapping[str, Any] = field(default_factory=dict)
    deterministic: bool = False
    """Every seed gives the same: one replicate then has no spread over seeds, rather than none
    that is known."""

    def __post_init__(self) -> None:
        seeds = [one.seed for one in self.replicates]
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"arm '{self.arm}' has a seed twice: {sorted(seeds)}")

    def done(self) -> tuple[ReplicateScores, ...]:
        """The replicates that ended with a score."""
        return tuple(one for one in self.replicates if one.scored)

    def lost(self) -> tuple[ReplicateScores, ...]:
        """The replicates that ended without one."""
        return tuple(one for one in self.replicates if one.ended and not one.scored)

    def flagged(self, flag: str) -> int:
        """How many finished replicates carry a flag."""
        return sum(one.done and flag in one.flags for one in self.replicates)

    def diverged(self) -> int:
        """How many replicates diverged, scored or not."""
        return sum(one.diverged for one in self.replicates)
