"""The order parameter of phases, and the normalised entropy of next-token predictions."""

from __future__ import annotations

import math

import torch

_LEAST = 1e-24
"""The square of the least R that is told from none: a root at 0 has no slope."""


def mean_field(phases: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean cosine and the mean sine of phases [..., N], each [...]."""
    return phases.cos().mean(-1), phases.sin().mean(-1)


def order_parameter(phases: torch.Tensor) -> torch.Tensor:
    """R = |mean of e^(i phase)| of phases [..., N] in radians: [...], from 0 to 1.

    1 where all phases are equal, 0 where they are spread evenly; a shift of all of them changes
    nothing. Never below 1e-12. Differentiable everywhere: where R is that, its gradient is 0.
    """
    return length(*mean_field(phases))


def length(cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """R from the mean cosine and the mean sine, each [...]: at most 1, rounding or not."""
    return (cosine.square() + sine.square()).clamp(_LEAST, 1.0).sqrt()


def mean_phase(phases: torch.Tensor) -> torch.Tensor:
    """The angle, in (-pi, pi], of the mean of e^(i phase) of phases [..., N]: [...].

    Means nothing where the order parameter is 0.
    """
    cosine, sine = mean_field(phases)
    return torch.atan2(sine, cosine)


def wrapped(phases: torch.Tensor) -> torch.Tensor:
    """Phases less the whole turns that bring them into [-pi, pi]. The slope is 1."""
    return phases - math.tau * (phases.detach() / math.tau).round()


def normalised_entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of softmax(logits [..., V]) over ln V: [...]. 1 if uniform, 0 if one-hot.

    Logits of -inf are tokens that cannot come. Differentiable. Raises `ValueError` for fewer than
    two logits, which have no entropy.
    """
    size = logits.shape[-1]
    if size < 2:
        raise ValueError(f"an entropy needs two tokens or more to choose from, and has {size}")
    finite = logits.float() if logits.dtype.itemsize < 4 else logits
    logs = torch.log_softmax(finite.clamp(min=torch.finfo(finite.dtype).min / 4), dim=-1)
    return -(logs.exp() * logs).sum(-1) / math.log(size)
