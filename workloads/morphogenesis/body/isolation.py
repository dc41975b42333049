"""Whether a seed trains, and whether it trains apart from its host.

A seed is isolated while nothing flows back from it into the host through its input. The host's own
gradients, however large, are no violation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LARGEST_RATIO = 10.0
SMALLEST_HOST_NORM = 1e-8
NORM_DECAY = 0.9


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """L2 norm of the parameters' gradients; those without one count as 0."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0


def gradient_ratio(seed_norm: float, host_norm: float, seed_params: int, host_params: int) -> float:
    """(seed_norm / host_norm) sqrt(host_params / seed_params), at most 10.

    0 for a host without a gradient (norm below 1e-8) and for a seed without parameters.
    """
    if host_norm < SMALLEST_HOST_NORM or seed_params == 0:
        return 0.0
    ratio = (seed_norm / host_norm) * math.sqrt(host_params / seed_params)
    return LARGEST_RATIO if ratio > LARGEST_RATIO else ratio


@dataclass
class GradientBalance:
    """The gradient ratio of one seed over an epoch's batches.

    The seed's norm is a moving average with decay 0.9 that begins at its first value; the host's is
    that of the last batch.
    """

    seed_norm: float | None = None
    host_norm: float | None = None

    def observe(self, seed_norm: float, host_norm: float) -> None:
        """After the backward pass of a batch."""
        before = seed_norm if self.seed_norm is None else self.seed_norm
        self.seed_norm = NORM_DECAY * before + (1 - NORM_DECAY) * seed_norm
        self.host_norm = host_norm

    def ratio(self, seed_params: int, host_params: int) -> float | None:
        """As `gradient_ratio`; None before anything was observed."""
        if self.seed_norm is None or self.host_norm is None:
            return None
        return gradient_ratio(self.seed_norm, self.host_norm, seed_params, host_params)


class IsolationWatch:
    """Sees what flows back through the input of a seed that should be isolated.

    Attributes:
        violations: backward passes in which something that was not 0 did, since `take`.
        leakage: the largest L2 norm of it since `take`.
    """

    def __init__(self) -> None:
        self.violations = 0
        self.leakage = 0.0

    def observe(self, seed_input: Tensor) -> Tensor:
        """The same numbers, watched. Costs nothing where the input is detached, as it should be."""
        if not (seed_input.requires_grad and torch.is_grad_enabled()):
            return seed_input
        watched = seed_input.view_as(seed_input)  # a node of its own: the host's path is another
        watched.register_hook(self._count)  # type: ignore[no-untyped-call]
        return watched

    def _count(self, gradient: Tensor) -> None:
        norm = float(gradient.norm())
        if norm != 0:  # NaN is a leak too
            self.violations += 1
            self.leakage = norm if math.isnan(norm) else max(self.leakage, norm)

    @property
    def seen(self) -> tuple[int, float]:
        """(violations, leakage) since the last `take`."""
        return self.violations, self.leakage

    def take(self) -> tuple[int, float]:
        """As `seen`; both begin again at 0."""
        seen = self.seen
        self.go_on(0, 0.0)
        return seen

    def go_on(self, violations: int, leakage: float) -> None:
        """Counts on from what another watch has `seen`."""
        self.violations, self.leakage = violations, leakage
