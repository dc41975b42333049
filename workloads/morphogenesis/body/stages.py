"""The stages of a seed's life, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from telemetry.contracts import STAGES, Stage

ACTIVE: frozenset[Stage] = frozenset({"TRAINING", "BLENDING", "PROBATIONARY", "FOSSILIZED"})
"""A seed in one of these is in the forward pass."""

CULLABLE: frozenset[Stage] = frozenset({"GERMINATED", "TRAINING", "BLENDING", "PROBATIONARY"})
"""Stages of a live seed. One that is fossilised stays."""

EMBARGO_EPOCHS = 5
"""From a cull until something may grow in the slot again."""

TRANSITIONS: Mapping[Stage, frozenset[Stage]] = MappingProxyType(
    {
        "UNKNOWN": frozenset[Stage](),
        "DORMANT": frozenset[Stage]({"GERMINATED"}),
        "GERMINATED": frozenset[Stage]({"TRAINING", "CULLED"}),
        "TRAINING": frozenset[Stage]({"BLENDING", "CULLED"}),
        "BLENDING": frozenset[Stage]({"PROBATIONARY", "CULLED"}),
        "SHADOWING": frozenset[Stage](),
        "PROBATIONARY": frozenset[Stage]({"FOSSILIZED", "CULLED"}),
        "FOSSILIZED": frozenset[Stage](),
        "CULLED": frozenset[Stage]({"EMBARGOED"}),
        "EMBARGOED": frozenset[Stage]({"RESETTING"}),
        "RESETTING": frozenset[Stage]({"DORMANT"}),
    }
)
"""What may follow each stage. UNKNOWN and SHADOWING are kept for their numbers and never entered.
"""


class IllegalTransition(ValueError):
    """A stage was to follow one that it cannot follow."""


class Lifecycle:
    """The stage of one slot, and how many epochs have been spent in it.

    >>> life = Lifecycle()
    >>> life.move("GERMINATED")
    >>> life.tick()
    >>> life.stage, life.epochs_in_stage
    ('GERMINATED', 1)
    """

    def __init__(self, stage: Stage = "DORMANT", epochs_in_stage: int = 0) -> None:
        if stage not in STAGES:
            raise ValueError(f"no stage {stage!r}; stages: {', '.join(STAGES)}")
        self.stage: Stage = stage
        self.epochs_in_stage = epochs_in_stage

    def move(self, to: Stage) -> None:
        """Enters a stage, with no epoch spent in it yet. Raises `IllegalTransition`."""
        allowed = TRANSITIONS[self.stage]
        if to not in allowed:
            after = ", ".join(sorted(allowed, key=STAGES.index)) or "nothing: it is final"
            raise IllegalTransition(f"{to} cannot follow {self.stage}; what can: {after}")
        self.stage = to
        self.epochs_in_stage = 0

    def tick(self) -> None:
        """An epoch has been spent in the stage."""
        self.epochs_in_stage += 1
