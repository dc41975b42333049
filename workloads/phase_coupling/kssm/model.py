"""The language model: embedding, blocks, and a head that is the embedding again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workloads.phase_coupling.kssm.mixing import CausalAttention
from workloads.phase_coupling.kssm.oscillators import Measured, Oscillators
from workloads.phase_coupling.kssm_config import OSCILLATING, KssmConfig
from workloads.training import generator

_EMBEDDING_SD = 0.02
_WIDER = 4
"""The feed-forward layer's width over that of the hidden states."""


@dataclass(frozen=True)
class Read:
    """What the model gives: logits [batch, tokens, vocabulary], and what each block's oscillators
    did (empty for the baseline)."""

    logits: Tensor
    measured: Sequence[Measured]


class Plain(nn.Module):
    """The baseline's layer: as many parameters as `Oscillators` to within half of a hidden unit."""

    def __init__(self, hidden_size: int, oscillators: int, harmonics: int) -> None:
        super().__init__()
        asked = parameters_of(Oscillators(hidden_size, oscillators, harmonics, bistable=True))
        units = max(1, round((asked - hidden_size) / (2 * hidden_size + 1)))
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, units), nn.GELU(), nn.Linear(units, hidden_size)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """What is added to the hidden states."""
        out: Tensor = self.layers(hidden)
        return out


class Block(nn.Module):
    """Mixing of tokens, if there is any; oscillators or what stands for them; a wider layer."""

    def __init__(self, config: KssmConfig) -> None:
        super().__init__()
        width = config.hidden_size
        mixes = config.mixing == "attention"
        self.mixing_norm = nn.LayerNorm(width) if mixes else None
        self.mixing = CausalAttention(width, config.heads) if mixes else None
        self.core_norm = nn.LayerNorm(width)
        self.core: Oscillators | Plain
        if config.variant in OSCILLATING:
            bistable = config.variant == "bistable"
            self.core = Oscillators(width, config.oscillators, config.harmonics, bistable)
        else:
            self.core = Plain(width, config.oscillators, config.harmonics)
        self.wide_norm = nn.LayerNorm(width)
        self.wide = nn.Sequential(
            nn.Linear(width, _WIDER * width), nn.GELU(), nn.Linear(_WIDER * width, width)
        )

    def forward(self, hidden: Tensor, noise: Tensor | None) -> tuple[Tensor, Measured | None]:
        """The hidden states after the block, and what the oscillators did."""
        if self.mixing is not None and self.mixing_norm is not None:
            hidden = hidden + self.mixing(self.mixing_norm(hidden))
        normed, measured = self.core_norm(hidden), None
        if isinstance(self.core, Oscillators):
            assert noise is not None
            added, measured = self.core(normed, noise)
        else:
            added = self.core(normed)
        hidden = hidden + added
        return hidden + self.wide(self.wide_norm(hidden)), measured


class KssmModel(nn.Module):
    """`forward(ids [batch, tokens], noise [layers, batch, tokens, oscillators]) -> Read`."""

    def __init__(self, config: KssmConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocabulary, config.hidden_size)
        self.places = nn.Embedding(config.tokens, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, ids: Tensor, noise: Tensor | None = None) -> Read:
        """Reads texts; the baseline takes no noise."""
        at = torch.arange(ids.shape[1], device=ids.device)
        hidden = self.embedding(ids) + self.places(at)
        found = []
        for number, block in enumerate(self.layers):
            hidden, measured = block(hidden, None if noise is None else noise[number])
            if measured is not None:
                found.append(measured)
        logits = nn.functional.linear(self.norm(hidden), self.embedding.weight)
        return Read(logits, found)

    @property
    def last(self) -> nn.Module:
        """What monitors watch: the last layer that adds to the hidden states."""
        block = self.layers[-1]
        assert isinstance(block, Block)
        return block.wide

    def draw_noise(self, stream: torch.Generator, texts: int, tokens: int) -> Tensor | None:
        """Noise for so many texts, [layers, texts, tokens, oscillators]; None for the baseline."""
        if self.config.variant not in OSCILLATING:
            return None
        shape = (self.config.layers, texts, tokens, self.config.oscillators)
        return torch.randn(shape, generator=stream)


def make_model(config: KssmConfig, vocabulary: int, seed: int) -> KssmModel:
    """An untrained model. Each weight is drawn from a stream of its name, so that what two arms
    share starts alike in both."""
    model = KssmModel(config, vocabulary)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                for part, values in module.named_parameters():
                    values.uniform_(-bound, bound, generator=generator(seed, f"{name}.{part}"))
            elif isinstance(module, nn.Embedding):
                stream = generator(seed, f"{name}.weight")
                module.weight.normal_(0, _EMBEDDING_SD, generator=stream)
        for module in model.modules():
            if isinstance(module, Oscillators):
                module.centre()
    return model


def parameters_of(model: nn.Module) -> int:
    """How many numbers are trained; those of the head are the embedding's."""
    return sum(parameter.numel() for parameter in model.parameters())


def decayed(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters that weight decay draws to 0, and those that it leaves: biases, norms, and the
    oscillators' angles and noise, for which 0 is no neutral value."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    return weights, rest
