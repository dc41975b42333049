"""Where oscillators start: equal, spread evenly or drawn, and the origin's forced phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch

from workloads.phase_coupling.cores.solver import check_oscillators, check_target

Initial = Literal["equal", "uniform", "random"]
Generators = torch.Generator | Sequence[torch.Generator] | None
"""One for the batch, or one for each of its rows, so that a row's draw is its own."""


def initial_phases(
    batch: int, oscillators: int, how: Initial = "equal", generator: Generators = None
) -> torch.Tensor:
    """Phases [batch, N] in float64: all 0 (R = 1), spread evenly (R = 0), or drawn from [-pi, pi).

    Raises `ValueError` for another way, for drawing without generators or with too few of them,
    and for fewer than two oscillators.
    """
    check_oscillators(oscillators)
    if how not in get_args(Initial):
        raise ValueError(f"no initial phases '{how}'; valid: {', '.join(get_args(Initial))}")
    if how == "equal":
        return torch.zeros(batch, oscillators, dtype=torch.float64)
    if how == "uniform":
        return uniform_phases(oscillators).repeat(batch, 1)
    return math.tau * _drawn(batch, oscillators, generator) - math.pi


def uniform_phases(oscillators: int) -> torch.Tensor:
    """Phases [N] spread evenly over the circle: R = 0."""
    return torch.arange(oscillators, dtype=torch.float64) * (math.tau / oscillators)


def linspace_phases(r: float, oscillators: int) -> torch.Tensor:
    """The origin's phases [N] for a target r, which miss it: .042 .306 .595 .840 .981 at N = 16 for
    .1 .3 .5 .7 .9.

    From -s/2 to s/2 with s = 2 pi (1 - r); all 0 from 0.99 on, spread evenly up to 0.01. Raises
    `ValueError` for a target outside (0, 1) and for fewer than two oscillators.
    """
    check_target(r)
    check_oscillators(oscillators)
    if r >= 0.99:
        return torch.zeros(oscillators, dtype=torch.float64)
    if r <= 0.01:
        return uniform_phases(oscillators)
    half = math.pi * (1 - r)
    return torch.linspace(-half, half, oscillators, dtype=torch.float64)


def _drawn(batch: int, oscillators: int, generator: Generators) -> torch.Tensor:
    if generator is None:
        raise ValueError("random phases are drawn: give a generator, or one for each row")
    if isinstance(generator, torch.Generator):
        return torch.rand(batch, oscillators, generator=generator, dtype=torch.float64)
    if len(generator) != batch:
        raise ValueError(f"{len(generator)} generators for {batch} rows; give one for each row")
    rows = [torch.rand(oscillators, generator=each, dtype=torch.float64) for each in generator]
    return torch.stack(rows)
