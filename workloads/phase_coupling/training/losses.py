"""What a training step minimises: cross-entropy, and terms of entropy, presence, tone and end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.phase_coupling.config import TrainingSettings

MIDDLE = 0.5
"""The normalised entropy that the entropy term pulls to."""
TENSION = 0.8
"""The order parameter above which the tonal term weighs."""


@dataclass(frozen=True)
class StepLoss:
    """A step's loss and what it is made of, each a scalar, mean over the texts of the batch.

    Attributes:
        total: what is minimised, in nats per token and with a gradient where there is any.
        ce: cross-entropy in nats per token.
        u: entropy of the next token over its largest, ln V.
        u_distance: |u - 0.5| of each text.
        r: order parameter, mean over tokens; None without oscillators.
    """

    total: Tensor
    ce: Tensor
    u: Tensor
    u_distance: Tensor
    r: Tensor | None


def step_loss(
    logits: Tensor,
    ids: Tensor,
    r: Tensor | None,
    settings: TrainingSettings,
    end_token: int | None = None,
) -> StepLoss:
    """The loss of texts of one length.

    Args:
        logits: [batch, seq, vocabulary].
        ids: [batch, seq], whose tokens from the second on are predicted.
        r: [batch, seq] order parameter; the tonal term is 0 without it.
        settings: the weights, and whether the terms have a gradient.
        end_token: read where the end weighs; ValueError where it is missing then.

    With `terms="origin"` each term is a plain number, as in the source: `total` is then larger and
    its gradient is that of the cross-entropy alone. Its end term counts the targets that are the
    end token; the differentiable one is the end token's mean probability. The others have the same
    value in both forms.
    """
    predicted = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    chances = predicted.exp()
    targets = ids[:, 1:].to(predicted.device)
    ce = -predicted.gather(-1, targets.unsqueeze(-1)).squeeze(-1).mean()
    entropy = -(chances * predicted).sum(-1) / math.log(predicted.shape[-1])
    by_text = entropy.mean(1)
    distance = (by_text - MIDDLE).abs().mean()
    terms = []
    if settings.entropy_weight:
        terms.append(settings.entropy_weight * distance)
    if settings.presence_weight:
        terms.append(settings.presence_weight * (1 - chances.square().sum(-1)).mean())
    if settings.tonal_weight and r is not None:
        terms.append(settings.tonal_weight * (r - TENSION).clamp(min=0).mean())
    if settings.end_weight:
        if end_token is None:
            raise ValueError("end_weight needs the id of the end token")
        if settings.terms == "origin":
            share = (targets == end_token).float().mean()
        else:
            share = chances[..., end_token].mean()
        terms.append(settings.end_weight * share)
    total = ce
    for term in terms:
        total = total + (float(term.detach()) if settings.terms == "origin" else term)
    return StepLoss(total, ce, by_text.mean(), distance, None if r is None else r.mean())
