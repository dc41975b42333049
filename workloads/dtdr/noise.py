"""Gaussian noise on the coefficients of an encoded tensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.training.streams import generator

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.dtdr.codec.tensors import EncodedTensor


def root_mean_square(coefficients: Tensor) -> float:
    """Of all coefficients of a tensor [rows, padded], the padding's too; 0 where there are none."""
    import torch

    if not coefficients.numel():
        return 0.0
    norms = torch.linalg.vector_norm(coefficients.float(), dim=-1).double()
    return float(norms.norm()) / math.sqrt(coefficients.numel())


def coefficient_noise(
    encoded: EncodedTensor,
    noise: float,
    draw: int,
    coefficients: Tensor | None = None,
    known_rows: Tensor | None = None,
) -> Tensor:
    """Noise to be added to the coefficients of a tensor, float32 [rows, padded].

    Its standard deviation is `noise` times the root mean square of the tensor's own coefficients
    (given as `coefficients` where they are at hand), of `known_rows` [rows] bool alone where others
    are damaged and may be of any size. Each number depends on `draw`, the tensor's
    name and the place alone, and is proportional to `noise`; the same on every device.
    """
    import torch

    own = encoded.coefficients() if coefficients is None else coefficients
    stream = generator(draw, f"dtdr/noise/{encoded.name}")
    normal = torch.randn(own.shape, generator=stream).to(own.device)
    size = root_mean_square(own if known_rows is None else own[known_rows])
    return normal.mul_(noise * size)
