"""Seeds of the CNN host, on [batch, channels, height, width].

All normalise within a sample: a batch's statistics would depend on how it is split over ranks, and
would be a buffer that a look at a coalition must not change.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads.morphogenesis.body.sizes import SQUEEZE


def sample_norm(channels: int) -> nn.GroupNorm:
    """Over all channels and places of a sample, whatever their number."""
    return nn.GroupNorm(1, channels)


class Norm(nn.Module):
    """x + tanh(scale) (norm(x) - x); `scale` starts at 0, where it changes nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = sample_norm(channels)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.scale) * (self.norm(x) - x)  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """Each channel times a weight in (0, 1) that comes of all channels' means.

    Source: squeeze-and-excitation (Hu et al. 2018), without biases. SiLU stands for ReLU: of the
    few hidden units in a small host none may be dead from the start.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // SQUEEZE)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.excite(functional.silu(self.squeeze(x.mean((2, 3)))))
        return x * torch.sigmoid(weights)[:, :, None, None]


class Depthwise(nn.Module):
    """x + relu(norm(a 3 x 3 convolution by channel, then one across channels))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = sample_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + functional.relu(self.norm(self.pointwise(self.depthwise(x))))


class Convolutions(nn.Module):
    """x + `count` times (3 x 3 convolution, norm, relu)."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for _ in range(count):
            self.layers.append(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            self.layers.append(sample_norm(channels))
            self.layers.append(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]
