"""What the cores are held against: sums over all pairs, as the equations are written. Slow."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_pull(theta: Tensor, matrix: Tensor) -> Tensor:
    """sum_j K_ij sin(theta_j - theta_i) of theta [..., D] by K [D, D]: [..., D].

    Time and memory grow with D² for each token.
    """
    differences = theta.unsqueeze(-2) - theta.unsqueeze(-1)
    return (matrix * differences.sin()).sum(-1)


def dense_kuramoto(phases: Tensor, omega: Tensor, k: float) -> Tensor:
    """Kuramoto's equation: the speed [..., N] of phases [..., N], in radians per unit of time."""
    number = phases.shape[-1]
    return omega + dense_pull(phases, torch.full((number, number), k / number).to(phases))


def critical_coupling(width: float) -> float:
    """The coupling above which oscillators of Lorentzian frequencies synchronise: 2 width.

    Kuramoto, "Self-entrainment of a population of coupled non-linear oscillators", 1975.
    """
    return 2 * width


def stationary_order(coupling: float, width: float) -> float:
    """The order parameter of infinitely many such oscillators: sqrt(1 - K_c / K), 0 below K_c."""
    critical = critical_coupling(width)
    return (1 - critical / coupling) ** 0.5 if coupling > critical else 0.0


def lorentzian_frequencies(oscillators: int, width: float) -> Tensor:
    """Natural frequencies [N] in float64 at even quantiles of a Lorentz distribution around 0."""
    places = (torch.arange(oscillators, dtype=torch.float64) + 0.5) / oscillators
    return width * torch.tan(torch.pi * (places - 0.5))
