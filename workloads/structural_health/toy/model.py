"""The toy model: a post-norm encoder without a causal mask, which gives back what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from workloads.structural_health.config import StructuralHealthConfig
from workloads.structural_health.toy.faults import faded

if TYPE_CHECKING:
    from torch import Tensor


class Output(NamedTuple):
    """What a forward pass gives: `logits` [batch, length, vocabulary], `hidden` [batch, length,
    width] as the head read them."""

    logits: Tensor
    hidden: Tensor


class Watched(nn.Module):
    """The place after the last layer that probes look at: gives what they see.

    That is what it is given, or a faded copy while `fade` is above 0. The copy never overwrites
    what it was made from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fade = 0.0

    def forward(self, before: Tensor, hidden: Tensor) -> Tensor:
        """What goes into the last layer and what comes out, [batch, length, width] each.

        `before` is not used here: a probe that compares a layer's two sides finds it in the call.
        """
        return faded(hidden, self.fade) if self.fade else hidden


class ToyModel(nn.Module):
    """Token embedding, encoder layers, a linear head. Positions are not told apart.

    With `collapses`, the head reads what `watched` gives; else it reads the last layer, whatever
    `watched` shows to those who look.
    """

    def __init__(self, config: StructuralHealthConfig) -> None:
        super().__init__()
        self.collapses = config.fault == "true_collapse"
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        # Each layer drawn anew: `nn.TransformerEncoder` would copy the weights of one.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                dim_feedforward=config.feedforward,
                dropout=config.dropout,
                batch_first=True,
            )
            for _ in range(config.layers)
        )
        self.watched = Watched()
        self.head = nn.Linear(config.width, config.vocabulary)

    def forward(self, ids: Tensor) -> Output:
        """Token ids [batch, length]."""
        before = hidden = self.embedding(ids)
        for layer in self.layers:
            before, hidden = hidden, layer(hidden)
        seen = self.watched(before, hidden)
        if self.collapses:
            hidden = seen
        return Output(self.head(hidden), hidden)
