"""An oscillator per channel and token, coupled by a matrix of low rank; it gives a new x."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workloads.phase_coupling.config import PhaseBlockSettings
from workloads.phase_coupling.cores.core import (
    CoreOutput,
    Drive,
    PhaseCore,
    fill_normal,
    fill_uniform,
    held_rows,
    mean_over_tokens,
)
from workloads.phase_coupling.cores.order import order_parameter
from workloads.phase_coupling.cores.solver import check_oscillators

MOST_PULL = 10.0
"""The sum over the other oscillators is kept within ±10."""
MOST_PHASE = math.tau
"""Phases are kept within ±2 pi, at whose ends they stop: they are not wrapped."""
EPS = 1e-5


class PhaseBlockCore(PhaseCore):
    """For each token x [D], `steps` times from theta = pi * tanh(enc x):

        theta <- clip(theta + dt * (omega + clip(sum_j K_ij sin(theta_j - theta_i), ±10)), ±2 pi)

    with K = k_scale * U V^T, then

        y = x * cos(theta) * sigmoid(dec_gain x) + 0.01 * tanh(dec_bias x)

    less its mean, over its standard deviation (eps 1e-5, no learned scale). enc, dec_gain, dec_bias
    are linear, D → D; U and V are [D, rank]. A token reads nothing of the others, so phases neither
    begin nor go on: `phases` is not read, and `phases_after` are those of the last token. R is over
    the D phases.
    """

    kind = "phase_block"

    def __init__(self, settings: PhaseBlockSettings, hidden_size: int) -> None:
        check_oscillators(hidden_size)
        super().__init__(hidden_size, hidden_size, settings.k_scale)
        self.settings = settings
        self.enc = nn.Linear(hidden_size, hidden_size)
        self.dec_gain = nn.Linear(hidden_size, hidden_size)
        self.dec_bias = nn.Linear(hidden_size, hidden_size)
        self.U = nn.Parameter(torch.zeros(hidden_size, settings.rank))
        self.V = nn.Parameter(torch.zeros(hidden_size, settings.rank))
        self.omega = nn.Parameter(torch.zeros(hidden_size))

    def init(self, generator: torch.Generator) -> None:
        """Linear layers uniform within ±1/sqrt(D), the rest normal."""
        for layer in (self.enc, self.dec_gain, self.dec_bias):
            fill_uniform(layer.weight, self.hidden_size, generator)
            fill_uniform(layer.bias, self.hidden_size, generator)
        for factor in (self.U, self.V):
            fill_normal(factor, self.settings.coupling_sd, generator)
        fill_normal(self.omega, self.settings.frequency_sd, generator)

    def structure(self) -> dict[str, int | str]:
        """Kind, width and rank."""
        rank = self.settings.rank
        return {"kind": self.kind, "hidden_size": self.hidden_size, "rank": rank}

    def pull(self, theta: Tensor) -> Tensor:
        """sum_j K_ij sin(theta_j - theta_i) of theta [..., D], not clipped: [..., D].

        As (K sin) cos - (K cos) sin, K by its factors: O(D rank) for each token, not O(D²).
        """
        sine, cosine = theta.sin(), theta.cos()
        of_sines, of_cosines = (each @ self.V @ self.U.T for each in (sine, cosine))
        return self.coupling * (of_sines * cosine - of_cosines * sine)

    def evolve(self, theta: Tensor) -> Tensor:
        """The phases theta [B, T, D] after all steps."""
        for _ in range(self.settings.steps):
            pull = self.pull(theta).clamp(-MOST_PULL, MOST_PULL)
            theta = theta + self.settings.dt * (self.omega + pull)
            noise = self._noise(*theta.shape)
            theta = (theta if noise is None else theta + noise).clamp(-MOST_PHASE, MOST_PHASE)
        return theta

    def forward(
        self,
        x: Tensor,
        phases: Tensor,
        *,
        mask: Tensor | None = None,
        drive: Drive = "text",
        hold: Tensor | None = None,
        keep_trace: bool = False,
    ) -> CoreOutput:
        """See `PhaseCore.forward`; `phases` is not read. Everything is computed in float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.omega.dtype)
            if hold is None:
                theta = math.pi * torch.tanh(self.enc(x))
                if drive == "constant":
                    theta = mean_over_tokens(theta, mask, of_batch=False).expand(x.shape)
                theta = self.evolve(theta)
            else:
                held = held_rows(hold.to(x), len(x), self.oscillators)
                theta = held[:, None].expand(x.shape)
            kept = x * theta.cos() * torch.sigmoid(self.dec_gain(x))
            y = kept + 0.01 * torch.tanh(self.dec_bias(x))
            output = nn.functional.layer_norm(y, (self.hidden_size,), eps=EPS)
        after = theta[:, -1].detach().double() if x.shape[1] else phases.detach()
        r = order_parameter(theta)
        return CoreOutput(None, output, after, r, theta if keep_trace else None)
