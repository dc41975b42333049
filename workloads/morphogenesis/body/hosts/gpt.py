"""The GPT host: a decoder with learned positions and norms in front, without dropout or biases.

Source: GPT-2 (Radford et al. 2019) in its small form of 6 layers of width 384.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads.morphogenesis.body.sizes import slot_layers
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.training import seeded

INIT_STD = 0.02


class Embedding(nn.Module):
    """Token ids [batch, tokens] to [batch, tokens, width]."""

    def __init__(self, vocabulary: int, context: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=INIT_STD)

    def forward(self, x: Tensor) -> Tensor:
        tokens, context = x.shape[1], self.places.num_embeddings
        if tokens > context:
            raise ValueError(f"a text of {tokens} tokens, but the host's context is {context}")
        places = torch.arange(tokens, device=x.device)
        return self.tokens(x) + self.places(places)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Causal attention, then an MLP of four times the width, each added to its input."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        for linear in (self.qkv, self.up):
            nn.init.normal_(linear.weight, std=INIT_STD)
        for linear in (self.attention_out, self.down):
            nn.init.normal_(linear.weight, std=INIT_STD / math.sqrt(2 * layers))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            part.view(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x))))  # type: ignore[no-any-return]


class Vocabulary(nn.Module):
    """Logits [batch, tokens, vocabulary]."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.linear.weight, std=INIT_STD)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))  # type: ignore[no-any-return]


def gpt_parts(
    config: MorphogenesisConfig, width: int, vocabulary: int, seed: int
) -> list[nn.Module]:
    """The layers up to each slot (before the first of them the embedding), then the logits.

    Raises ValueError if the heads do not divide the width.
    """
    if width % config.heads:
        raise ValueError(f"heads ({config.heads}) must divide width ({width})")
    with seeded(seed, "host/embedding"):
        modules: list[nn.Module] = [Embedding(vocabulary, config.context, width)]
    parts: list[nn.Module] = []
    done = 0
    for end in slot_layers(config):
        for index in range(done, end):
            with seeded(seed, f"host/layer{index}"):
                modules.append(Layer(width, config.heads, config.layers))
        parts.append(nn.Sequential(*modules))
        modules, done = [], end
    with seeded(seed, "host/head"):
        parts.append(Vocabulary(width, vocabulary))
    return parts
