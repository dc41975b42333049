"""N Kuramoto oscillators that hidden states drive, and whose phases give a gain."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workloads.phase_coupling.config import KuramotoSettings
from workloads.phase_coupling.cores.core import (
    CoreOutput,
    Drive,
    Gain,
    PhaseCore,
    fill_normal,
    fill_uniform,
    held_rows,
    mean_over_tokens,
)
from workloads.phase_coupling.cores.dynamics import follow
from workloads.phase_coupling.cores.order import length
from workloads.phase_coupling.cores.solver import check_oscillators


class KuramotoCore(PhaseCore):
    """For x [B, T, D], token by token:

        push = drive * pi * tanh(W x_t)
        phases <- one Kuramoto step of (phases + push)          (`dynamics.follow`)
        R = |mean of e^(i phases)|
        gain = 1 + strength * tanh(V sin(phases))               (or V [sin, cos])

    W [D → N] and V [N or 2N → D or 1] have no bias. With `pool="sequence"` there is one step a
    forward pass, driven by W of the mean over all of the batch's tokens (over each row's own with
    `rows_apart`): R and gain are the same at each of them. `phases` come before the first token;
    rows that begin with the same phases then keep them in common, as the origin's one state.
    """

    kind = "kuramoto"

    def __init__(
        self,
        settings: KuramotoSettings,
        hidden_size: int,
        gain: Gain = "channel",
        strength: float = 0.1,
    ) -> None:
        check_oscillators(settings.oscillators)
        super().__init__(hidden_size, settings.oscillators, settings.coupling)
        self.settings, self.gain, self.strength = settings, gain, strength
        number = settings.oscillators
        features = number if settings.features == "sin" else 2 * number
        self.W = nn.Parameter(torch.zeros(number, hidden_size))
        self.V = nn.Parameter(torch.zeros(hidden_size if gain == "channel" else 1, features))
        self.omega = nn.Parameter(torch.zeros(number))

    def init(self, generator: torch.Generator) -> None:
        """W and V uniform within ±1/sqrt(inputs), natural frequencies normal."""
        fill_uniform(self.W, self.hidden_size, generator)
        fill_normal(self.omega, self.settings.frequency_sd, generator)
        fill_uniform(self.V, self.V.shape[1], generator)

    def structure(self) -> dict[str, int | str]:
        """Kind, sizes, what the gain reads and how many gains there are."""
        return {
            "kind": self.kind,
            "oscillators": self.oscillators,
            "hidden_size": self.hidden_size,
            "features": self.settings.features,
            "gain": self.gain,
        }

    def drive_of(self, x: Tensor) -> Tensor:
        """pi * tanh(W x) [B, T, N], in radians: what each token would turn the phases to."""
        return math.pi * torch.tanh(x.to(self.W.dtype) @ self.W.T)

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
        """See `PhaseCore.forward`. Everything is computed in float32, the phases in float64."""
        with torch.autocast(x.device.type, enabled=False):
            trace = self._trace(x, phases, mask, drive, hold)
            angles = trace.to(self.V.dtype)
            sine, cosine = angles.sin(), angles.cos()
            r = length(cosine.mean(-1), sine.mean(-1))
            read = sine if self.settings.features == "sin" else torch.cat([sine, cosine], -1)
            gain = 1 + self.strength * torch.tanh(read @ self.V.T)
        batch, tokens = x.shape[:2]
        return CoreOutput(
            gain=gain.expand(batch, tokens, -1),
            output=None,
            phases_after=trace[:, -1].detach() if tokens else phases.detach(),
            r=r.expand(batch, tokens),
            trace=trace.expand(batch, tokens, -1) if keep_trace else None,
        )

    def _trace(
        self,
        x: Tensor,
        phases: Tensor,
        mask: Tensor | None,
        drive: Drive,
        hold: Tensor | None,
    ) -> Tensor:
        """Phases [B, T, N], or [B, 1, N] where they are the same at each token of a row."""
        settings = self.settings
        if hold is not None:
            return held_rows(hold.to(phases.device), len(x), self.oscillators).double()[:, None]
        if settings.pool == "sequence":
            tokens = x.to(self.W.dtype)
            pooled = mean_over_tokens(tokens, mask, of_batch=not self.rows_apart)
            turn = self.drive_of(pooled).expand(len(x), 1, -1)
            steps = None
        else:
            turn, steps = self.drive_of(x), mask
            if drive == "constant":
                turn = mean_over_tokens(turn, mask, of_batch=False).expand(turn.shape)
        push = settings.drive * turn
        noise = self._noise(*push.shape)
        push = push if noise is None else push + noise
        return follow(
            push.expand(len(x), -1, -1),
            phases,
            self.omega,
            self.coupling,
            settings.dt,
            steps=steps,
            detached=settings.backprop == "detached",
        )
