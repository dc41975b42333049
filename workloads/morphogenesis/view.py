"""What a policy sees of an episode, and what it answers. Plain data, free of torch.

Accuracies are in percent, differences in points, losses in nats. None: not measured (yet).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from telemetry.contracts import FactoredAction, Stage


@dataclass(frozen=True)
class SlotView:
    """One slot as the policy sees it."""

    name: str
    stage: Stage
    epochs_in_stage: int
    alpha: float
    blueprint: str | None = None
    seed_params: int = 0
    contribution: float | None = None
    """Accuracy with the slot less accuracy without it, measured in the last epoch, points."""
    total_improvement: float | None = None
    """Accuracy now less accuracy at germination, points."""
    stage_improvement: float | None = None
    """Accuracy now less accuracy when the present stage began, points."""
    accuracy_at_germination: float | None = None
    gradient_ratio: float | None = None
    embargo_left: int = 0
    """Epochs until something may grow here again."""
    allowed_blueprint: str | None = None
    allowed_blend: str | None = None
    """What the configuration fixes; None leaves it to the policy."""

    @property
    def active(self) -> bool:
        """Whether its seed is in the forward pass."""
        return self.stage in ("TRAINING", "BLENDING", "PROBATIONARY", "FOSSILIZED")


@dataclass(frozen=True)
class EpisodeView:
    """An episode after `epoch` epochs, in front of the next decision."""

    epoch: int
    max_epochs: int
    train_losses: Sequence[float]
    val_losses: Sequence[float]
    val_accuracies: Sequence[float]
    """One entry for each epoch that has ended."""
    slots: Sequence[SlotView]
    """In their order along the network."""
    host_params: int
    classes: int
    blueprints: Sequence[str]
    """What can be planted in this host."""
    blueprint_params: Mapping[str, int] = field(default_factory=dict)
    """Largest parameter count of each over the slots."""


@dataclass(frozen=True)
class Decision:
    """An action, and what led to it."""

    action: FactoredAction
    explanation: str = ""
    log_probs: Mapping[str, float | None] = field(default_factory=dict)
    value: float | None = None
    value_std: float | None = None
    entropy: float | None = None
    masked: bool | None = None
    """Whether the mask left no other action."""
    observation: Sequence[float] = ()
    also: Sequence[FactoredAction] = ()
    """Further actions of the same epoch, in order: of a schedule in which several are due."""


class Policy(Protocol):
    """Decides once before each epoch. A fresh one is made for each episode."""

    def decide(self, view: EpisodeView) -> Decision:
        """An action that is allowed in this view (`policies.masks.allowed`)."""
