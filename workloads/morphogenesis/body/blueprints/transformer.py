"""Seeds of the GPT host, on [batch, tokens, width].

Each is x + f(x), with f 0 at the start: its last matrix (or its scale) is drawn as zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads.morphogenesis.body.sizes import (
    LORA_RANK,
    SEED_HEADS,
    attention_width,
    flex_attention_width,
)


class Norm(nn.Module):
    """x + tanh(scale) (norm(x) - x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.scale) * (self.norm(x) - x)  # type: ignore[no-any-return]


class LowRank(nn.Module):
    """x + up(down(x)), through few numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, LORA_RANK, bias=False)
        self.up = _zeroed(nn.Linear(LORA_RANK, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.down(x))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """x + a hidden layer of four times the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = _zeroed(nn.Linear(4 * width, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(functional.gelu(self.up(x)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """x + causal attention in a narrow inner width."""

    def __init__(self, width: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or attention_width(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = _zeroed(nn.Linear(inner, width, bias=False))

    def scores(self, tokens: int, like: Tensor) -> Tensor:
        """What is added to the attention scores, [heads or 1, tokens, tokens]."""
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=like.device).triu(1)
        return torch.zeros_like(later, dtype=like.dtype).masked_fill(later, -torch.inf)[None]

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = (
            part.view(batch, tokens, SEED_HEADS, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.scores(tokens, q))
        joined = mixed.transpose(1, 2).reshape(batch, tokens, -1)
        return x + self.out(joined)  # type: ignore[no-any-return]


class FlexAttention(Attention):
    """Attention whose heads learn how fast a token fades with its distance.

    The score of a token d places back is lowered by softplus(fade) d.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, flex_attention_width(width))
        self.fade = nn.Parameter(torch.linspace(-4.0, 0.0, SEED_HEADS))

    def scores(self, tokens: int, like: Tensor) -> Tensor:
        places = torch.arange(tokens, device=like.device)
        distance = (places[:, None] - places[None, :]).clamp(min=0)
        fading = functional.softplus(self.fade)[:, None, None] * distance
        return super().scores(tokens, like) - fading.to(like.dtype)


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    return layer
