"""Mean cosines and sines of the harmonics of phases, by powers of e^(i theta)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Harmonics(torch.autograd.Function):
    """One power after the other, and Horner's scheme on the way back: nothing of [..., N, H] is
    ever made, and no cosine is computed but those of theta."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, count: int) -> Tensor:
        turn = torch.polar(torch.ones_like(theta), theta)
        ctx.save_for_backward(turn)
        power, means = turn, [turn.mean(-1)]
        for _ in range(count - 1):
            power = power * turn
            means.append(power.mean(-1))
        return torch.view_as_real(torch.stack(means, dim=-1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (turn,) = ctx.saved_tensors
        (given,) = grads
        orders = torch.arange(1, given.shape[-2] + 1, device=given.device, dtype=given.dtype)
        # d cos(n theta) = -n sin(n theta), d sin(n theta) = n cos(n theta): the real part of
        # n (of_sin + i of_cos) e^(i n theta), summed over n.
        weights = torch.complex(given[..., 1], given[..., 0]) * orders
        weights = weights.unsqueeze(-2)
        total = weights[..., -1].expand_as(turn)
        for n in range(given.shape[-2] - 2, -1, -1):
            total = torch.addcmul(weights[..., n], total, turn)
        return (total * turn).real / turn.shape[-1], None


def harmonics(theta: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The means over oscillators of cos(n theta) and of sin(n theta), n = 1 to `count`: each
    [..., count], of phases [..., N]. Differentiable once."""
    means = _Harmonics.apply(theta, count)  # type: ignore[no-untyped-call]
    return means[..., 0], means[..., 1]
