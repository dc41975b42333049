"""How the toy model trains: one step at a time, each with its own dropout stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from workloads.structural_health.config import StructuralHealthConfig
from workloads.structural_health.toy.data import Sequences
from workloads.structural_health.toy.faults import FADING, learning_rate, spread, strength
from workloads.structural_health.toy.model import ToyModel
from workloads.training import seeded

if TYPE_CHECKING:
    from torch import Tensor


class Losses(NamedTuple):
    """Of one step, before its update: the task's loss, and the penalty's unweighted value, None
    where nothing pulls."""

    task: Tensor
    penalty: Tensor | None


class ToyTraining:
    """A model, its data and its optimizer, made from a seed.

    Runs that differ in their fault alone draw the same numbers everywhere. A loss that is not
    finite ends nothing: it is what is being looked at.
    """

    def __init__(
        self, config: StructuralHealthConfig, seed: int, device: torch.device | None = None
    ) -> None:
        self.config, self._seed, self._device = config, seed, device or torch.device("cpu")
        with seeded(seed, "model/init"):
            self.model = ToyModel(config).to(self._device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, fused=True
        )
        self.sequences = Sequences(config, seed)
        self._loss = torch.nn.CrossEntropyLoss()

    def step(self, step: int) -> Losses:
        """Forward, backward and update of a step, counted from 0."""
        losses = self.backward(step)
        self.update(step)
        return losses

    def backward(self, step: int) -> Losses:
        """The step up to its gradients."""
        config = self.config
        amount = strength(config, step)
        self.model.watched.fade = amount if config.fault in FADING else 0.0
        ids = self.sequences.batch(step).to(self._device)
        with seeded(self._seed, f"dropout/{step}"):
            logits, hidden = self.model(ids)
        task = self._loss(logits.flatten(0, 1), ids.flatten())
        penalty = spread(hidden) if config.fault == "slow_collapse" else None
        total = task if penalty is None else task + config.pull * amount * penalty
        total.backward()
        return Losses(task.detach(), None if penalty is None else penalty.detach())

    def update(self, step: int) -> None:
        """What the step's gradients do to the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
