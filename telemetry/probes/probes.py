"""Probes: each reads one figure or two off what a model has just computed.

A probe is given an observation: a model's output (`transformers` outputs are mappings), a mapping
with some of the keys below, or a tensor, which stands for `last_hidden_state`.

    last_hidden_state   [dim], [seq, dim] or [batch, seq, dim]; else the last of `hidden_states`
    hidden_states       those of all layers, the last one last
    logits              [vocab], [seq, vocab] or [batch, seq, vocab]
    attention_mask      [seq] or [batch, seq]: the last token that is no padding is watched

It gives {} when there is nothing to tell: a key is missing, it is given anything else, its window
is not full or not finite, a vector is zero. A figure that was measured and is not finite is NaN or
infinite. A tensor of rank 4 or more raises ValueError. No probe changes what it sees, keeps it
alive, or takes part in gradients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from telemetry.probes.gram import GramWindow
from telemetry.probes.positions import last_token
from telemetry.probes.spectrum import effective_rank, numerical_rank, sv_ratio

Observation = Mapping[str, Any] | torch.Tensor

DEFAULT_WINDOW = 10
"""Steps in a window, unless another number is asked for."""


@runtime_checkable
class Probe(Protocol):
    """Anything that reads figures off an observation."""

    def observe(self, observation: Observation) -> dict[str, float]:
        """The figures by name; {} if there is nothing to tell. See the module for what it takes."""
        ...


class WindowProbe(ABC):
    """A probe of the singular values of the last `window_size` hidden vectors.

    They are not centred. Batches that are shuffled put vectors of different samples into one
    window: the figures then tell how alike samples are, not how one sample moves.
    """

    def __init__(self, window_size: int = DEFAULT_WINDOW) -> None:
        """Raises ValueError for a window of less than 2."""
        self.window = GramWindow(window_size)

    def observe(self, observation: Observation) -> dict[str, float]:
        """Takes the observation's vector into the window, and reads the figures off that."""
        vector = hidden_vector(observation)
        if vector is None:
            return {}
        self.window.push(vector)
        values = self.window.singular_values()
        return {} if values is None or not values[0] else self._figures(values)

    def to_state(self) -> dict[str, torch.Tensor]:
        """What the window holds, for a checkpoint."""
        return self.window.to_state()

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from what `to_state` gave. Raises ValueError if it is of another window."""
        self.window.restore(state)

    @abstractmethod
    def _figures(self, values: NDArray[np.float64]) -> dict[str, float]:
        """Figures of singular values [window], of which the first is the largest and not 0."""


class SVDProbe(WindowProbe):
    """`sv_ratio`, the largest singular value by the sum of all, from 1/W to 1; and `rank`.

    `rank` counts the values above 1e-6 of the largest. A high ratio is a window of few directions.
    """

    def _figures(self, values: NDArray[np.float64]) -> dict[str, float]:
        return _measured(sv_ratio=sv_ratio(values), rank=numerical_rank(values))


class EffectiveRankProbe(WindowProbe):
    """`effective_rank`: exp of the entropy of the normalised singular values, from 1 to W."""

    def _figures(self, values: NDArray[np.float64]) -> dict[str, float]:
        return _measured(effective_rank=effective_rank(values))


class EntropyProbe:
    """`entropy` (nats) of the next token's distribution: of the logits as they are, not warped."""

    def observe(self, observation: Observation) -> dict[str, float]:
        """The entropy at the last token; {} without `logits`."""
        logits = _logits(observation)
        if logits is None:
            return {}
        return {"entropy": float(torch.special.entr(logits.softmax(-1)).sum())}


class MarginProbe:
    """`margin`: by how much the likeliest next token is likelier than the second, from 0 to 1."""

    def observe(self, observation: Observation) -> dict[str, float]:
        """The margin at the last token; {} without `logits`, and for a vocabulary of one."""
        logits = _logits(observation)
        if logits is None or len(logits) < 2:
            return {}
        first, second = logits.softmax(-1).topk(2).values.tolist()
        return {"margin": first - second}


class LayerDeltaProbe:
    """`layer_delta`, 1 - cosine of the last token's vectors after the last layer and before it.

    `layer_similarity` is that cosine. Both layers are read from `hidden_states`; or give
    `last_hidden_state` and `previous_hidden_state`. The last of the `hidden_states` of a
    `transformers` model is after its final norm.
    """

    def observe(self, observation: Observation) -> dict[str, float]:
        """Both figures at the last token; {} if a layer is missing or a vector is zero."""
        if not isinstance(observation, Mapping):
            return {}
        layers = observation.get("hidden_states")
        previous = observation.get("previous_hidden_state")
        if previous is None and layers is not None and len(layers) >= 2:
            previous = layers[-2]
        after, before = hidden_vector(observation), _vector(previous, observation)
        if after is None or before is None:
            return {}
        after, before = after.to("cpu", torch.float64), before.to("cpu", torch.float64)
        norms = float(torch.linalg.vector_norm(after) * torch.linalg.vector_norm(before))
        if norms == 0:
            return {}
        similarity = float((after @ before / norms).clamp(-1, 1))
        return {"layer_delta": 1 - similarity, "layer_similarity": similarity}


class ActivationEnergyProbe:
    """`activation_energy`: the Euclidean norm of the hidden vector."""

    def observe(self, observation: Observation) -> dict[str, float]:
        """The norm at the last token; {} without a hidden state. That of a zero vector is 0."""
        vector = hidden_vector(observation)
        if vector is None:
            return {}
        energy = torch.linalg.vector_norm(vector.to("cpu", torch.float64))
        return {"activation_energy": float(energy)}


class MultiProbe:
    """Several probes as one: their figures in one mapping, those of later ones on top."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = tuple(probes)

    def observe(self, observation: Observation) -> dict[str, float]:
        """Every probe's figures. All probes see the observation, whatever the others tell."""
        figures: dict[str, float] = {}
        for probe in self.probes:
            figures.update(probe.observe(observation))
        return figures


def hidden_vector(observation: Observation) -> torch.Tensor | None:
    """The last token's vector [dim] after the last layer; None if the observation has none.

    It shares the storage of what was given. Raises ValueError for a tensor of rank 4 or more.
    """
    if isinstance(observation, torch.Tensor):
        return last_token(observation)
    if not isinstance(observation, Mapping):
        return None
    hidden = observation.get("last_hidden_state")
    layers = observation.get("hidden_states")
    if hidden is None and layers is not None and len(layers):
        hidden = layers[-1]
    return _vector(hidden, observation)


def _logits(observation: Observation) -> torch.Tensor | None:
    """The next token's logits [vocab] as float32; None if there are none. A tensor is hidden."""
    if not isinstance(observation, Mapping):
        return None
    logits = _vector(observation.get("logits"), observation)
    return None if logits is None else logits.float()


def _vector(values: object, observation: Mapping[str, Any]) -> torch.Tensor | None:
    if not isinstance(values, torch.Tensor):
        return None
    return last_token(values, observation.get("attention_mask"))


def _measured(**figures: float | None) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if figure is not None}
