"""The state of a model at a chunk's end: how sure it is, and how near to where it was."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

EPSILON: Final = 1e-12


def entropy(logits: Tensor) -> float:
    """−Σ p·ln(p + 1e-12) of the softmax of raw logits [vocab], in float32, in nats."""
    p = logits.float().softmax(-1)
    return max(0.0, float(-(p * (p + EPSILON).log()).sum()))


def consistency(hidden: Tensor, before: Tensor) -> float | None:
    """Cosine of two hidden states [dim], in float64; None if either is 0 throughout."""
    one, other = hidden.double(), before.double()
    norms = torch.linalg.vector_norm(one) * torch.linalg.vector_norm(other)
    if float(norms) == 0.0:
        return None
    return float((one @ other / norms).clamp(-1.0, 1.0))
