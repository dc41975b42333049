"""What goes wrong in a run, and how strongly at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workloads.structural_health.config import StructuralHealthConfig

if TYPE_CHECKING:
    from torch import Tensor

FADING = frozenset({"representation_collapse", "true_collapse"})
"""Faults that fade features of what is watched."""

KEPT_FEATURE = 0
"""The one that does not fade."""


def strength(config: StructuralHealthConfig, step: int) -> float:
    """How much of the fault is there at a step, in [0, 1]: 1/ramp at the onset, then more by as
    much at each step. With an onset of 0 and a ramp of 20 it is the source's.
    """
    if config.fault == "healthy" or step < config.onset:
        return 0.0
    return min(1.0, (step - config.onset + 1) / config.ramp)


def learning_rate(config: StructuralHealthConfig, step: int) -> float:
    """Of the update at a step."""
    if config.fault == "numeric_explosion" and step >= config.onset:
        return config.exploding_learning_rate
    return config.learning_rate


def faded(hidden: Tensor, strength: float) -> Tensor:
    """A copy of hidden states [..., width] whose features but one are (1 − strength) of theirs."""
    scale = torch.full((hidden.shape[-1],), 1.0 - strength, device=hidden.device)
    scale[KEPT_FEATURE] = 1.0
    return hidden * scale


def spread(hidden: Tensor) -> Tensor:
    """1 − mean pairwise cosine of all hidden states [batch, length, width] of a batch.

    With unit vectors u_i, the mean of u_i·u_j over all i and j is the squared norm of their mean.
    A vector's cosine with itself is counted too: 1/n of the whole.
    """
    units = torch.nn.functional.normalize(hidden.flatten(0, -2), dim=-1)
    return 1.0 - units.mean(0).square().sum()
