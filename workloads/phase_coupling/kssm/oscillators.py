"""Oscillators in the place of a layer: the successor's block, at each position for itself.

At a position with hidden state h, ten numbers a to j are a linear map of h, of which i and j are
not read. They make a control u = (d g - c h) / (a g - c e), the strength K = 2 sigmoid(u), and
a determinant Delta = b g - c f that the loss keeps away from 0. The phases start from learned
angles, turned by the mean of h, and take one step of mean-field coupling with noise. What the
position gets back is linear in the mean cosines and sines of the first harmonics and in their
order parameters |Z_n|; R = |Z_1|.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from workloads.phase_coupling.kssm.harmonics import harmonics

CONTROLS: Final = 10
LOWEST_U: Final = 0.1
HIGHEST_U: Final = 10.0
"""Between these the bistable form holds u."""
FIRST_NOISE: Final = 0.1
_FIRST_CONTROLS: Final = (1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
"""What a to j are at h = 0 in an untrained model: u = 1, well within its bounds, and Delta = 1.
With all of them near 0 the loss of 1 / |Delta| is thousands, and nothing else is learned."""
_LEAST_NOISE: Final = 1e-5
_LEAST_DETERMINANT: Final = 1e-5
_LEAST_U: Final = 1e-5
_DENOMINATOR: Final = 1e-6
_LEAST_SQUARE: Final = 1e-12
"""Under the root of |Z_n|, whose gradient has no value at 0."""


@dataclass(frozen=True)
class Measured:
    """What the oscillators of a block did, each [batch, tokens].

    `control` is u after it was held, `held` whether it was; `determinant` is |Delta|.
    """

    r: Tensor
    control: Tensor
    held: Tensor
    determinant: Tensor


class Oscillators(nn.Module):
    """`forward(hidden [batch, tokens, D], noise [batch, tokens, N]) -> ([batch, tokens, D], ...)`.

    No position reads another. `bistable`: u is held in [0.1, 10].
    """

    def __init__(self, hidden_size: int, oscillators: int, count: int, bistable: bool) -> None:
        super().__init__()
        self.bistable = bistable
        self.controls = nn.Linear(hidden_size, CONTROLS)
        self.phases = nn.Parameter(torch.linspace(-torch.pi, torch.pi, oscillators))
        self.noise = nn.Parameter(torch.tensor(FIRST_NOISE))
        self.out = nn.Linear(3 * count, hidden_size)
        self.harmonics = count

    def forward(self, hidden: Tensor, noise: Tensor) -> tuple[Tensor, Measured]:
        """What is added to the hidden states, and what was measured; computed in fp32."""
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float()
            u, held, determinant = self.control(hidden)
            coupling = (2 * torch.sigmoid(u)).unsqueeze(-1)
            theta = self.phases + hidden.mean(-1, keepdim=True)
            theta = self._step(theta, coupling, noise.to(theta.dtype))
            cos, sin = harmonics(theta, self.harmonics)
            order = (cos.square() + sin.square() + _LEAST_SQUARE).sqrt()
            out = self.out(torch.cat([cos, sin, order], dim=-1))
        return out, Measured(order[..., 0], u, held, determinant)

    def control(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u, whether it was held at a bound, and |Delta|: each [batch, tokens]."""
        a, b, c, d, e, f, g, h, _, _ = self.controls(hidden).unbind(-1)
        free = (d * g - c * h) / (a * g - c * e + _DENOMINATOR)
        u = free.clamp(LOWEST_U, HIGHEST_U) if self.bistable else free
        return u, u != free, (b * g - c * f).abs()

    def centre(self) -> None:
        """Sets the ten numbers at h = 0 to where u = 1 and Delta = 1."""
        with torch.no_grad():
            self.controls.bias.copy_(torch.tensor(_FIRST_CONTROLS))

    @property
    def spread(self) -> Tensor:
        """The standard deviation of the noise, in radians."""
        return self.noise.abs() + _LEAST_NOISE

    def _step(self, theta: Tensor, coupling: Tensor, noise: Tensor) -> Tensor:
        cos, sin = theta.cos(), theta.sin()
        pull = sin.mean(-1, keepdim=True) * cos - cos.mean(-1, keepdim=True) * sin
        return theta + coupling * pull - self.spread * noise


def penalty(measured: Measured, determinant_weight: float, control_weight: float) -> Tensor:
    """What the loss gets for determinants near 0 and for small u, mean over positions."""
    near = 1 / (measured.determinant + _LEAST_DETERMINANT)
    low = -measured.control.clamp(min=_LEAST_U).log()
    return determinant_weight * near.mean() + control_weight * low.mean()
