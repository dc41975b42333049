"""What a norm leaves of a gain: "normalisation washes it out", as figures.

A norm divides by the size of what it reads. Put a gain g before it, the same for all channels, and
the size grows by g too: all that is left is what eps makes of it. A gain per channel turns the
vector, which no norm undoes. And on the residual stream a scalar gain is not undone either: the
next norm's reading is the same, but the stream itself, to which every block adds, is g times as
large, so that later blocks weigh 1/g as much in it. Behind the last block nothing is added any
more, and the last norm takes the scalar out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def scalar_residue(size: Tensor, gain: Tensor, eps: float) -> Tensor:
    """The relative change of a norm's output under a scalar gain before it; in closed form.

    size: what the norm divides by the root of, before eps: the mean square of the vector (RMSNorm)
    or its variance (LayerNorm without its shift). With s the size, the output is x / sqrt(s + eps)
    and becomes g x / sqrt(g² s + eps).

    >>> one = torch.tensor(1.0, dtype=torch.float64)
    >>> f"{float(scalar_residue(one, 1.1 * one, 1e-5)):.1e}"
    '8.7e-07'
    """
    size, gain = size.double(), gain.double()
    return (gain * torch.sqrt((size + eps) / (gain.square() * size + eps)) - 1).abs()


@torch.no_grad()
def through_norm(norm: nn.Module, x: Tensor, gain: Tensor) -> Tensor:
    """[…]: the relative change of a real norm's output when its input is multiplied by a gain.

    x: [..., dim]; gain: [..., 1] or [..., dim]. Measured, |norm(g x) - norm(x)| / |norm(x)|.
    """
    plain, modulated = norm(x).double(), norm(x * gain).double()
    change: Tensor = (modulated - plain).norm(dim=-1) / plain.norm(dim=-1)
    return change
