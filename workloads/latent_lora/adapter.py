"""The adapter from PCA codes back to token embeddings."""

from __future__ import annotations

import torch
from torch import nn


class Adapter(nn.Module):
    """Residual MLP, FiLM by the code, LayerNorm, a learned scale and a per-dimension affine.

    With d = `d_z` and D = `dim`: LayerNorm(d); Linear d→hd, GELU, Linear hd→hd, GELU, dropout,
    Linear hd→D, plus a linear skip d→D from the normed code; x·sigmoid(W1 z) + W2 z; LayerNorm(D);
    a scalar; x·gain + shift. At d = 1024, D = 4096, h = 4 these are 50,374,657 parameters; the
    origin counted 50,366,465, one affine of 8,192 fewer.
    """

    def __init__(self, d_z: int, dim: int, hidden_mult: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = hidden_mult * d_z
        self.norm_in = nn.LayerNorm(d_z)
        self.mlp = nn.Sequential(
            nn.Linear(d_z, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )
        self.skip = nn.Linear(d_z, dim)
        self.film_gate = nn.Linear(d_z, dim)
        self.film_shift = nn.Linear(d_z, dim)
        self.norm_out = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.gain = nn.Parameter(torch.ones(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Embeddings [..., dim] of codes [..., d_z]."""
        normed = self.norm_in(codes)
        x = self.mlp(normed) + self.skip(normed)
        x = x * torch.sigmoid(self.film_gate(codes)) + self.film_shift(codes)
        x = self.scale * self.norm_out(x)
        out: torch.Tensor = x * self.gain + self.shift
        return out


def rms_match(embeddings: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """`embeddings` [..., dim] scaled, token by token, to the root mean square of `originals`."""
    return embeddings * (_rms(originals) / (_rms(embeddings) + 1e-8))


def _rms(x: torch.Tensor) -> torch.Tensor:
    # No square root at exactly zero (a zero embedding of a pad token): its gradient is infinite.
    return x.square().mean(-1, keepdim=True).clamp(min=1e-30).sqrt()
