"""What stands in a tensor for what is missing: values, and the factor they are multiplied by.

A fill never depends on what was asked before, nor on other tensors: noise has its stream by draw
and tensor, and its place by row and column.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workloads.training.streams import generator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workloads.dtdr.codec.tensors import EncodedTensor

SPREAD_BLOCKS = 6
"""Kept row blocks whose spread is that of the random fill of rows."""


def gaussian(shape: tuple[int, int], draw: int, name: str, device: torch.device) -> Tensor:
    """Standard normal noise of a tensor: the same numbers on every device.

    Args:
        shape: rows, and columns of weights or of coefficients.

    Returns:
        ``[rows, columns]`` float32.
    """
    return torch.randn(shape, generator=generator(draw, f"dtdr/fill/{name}")).to(device)


def spread(values: Tensor) -> float:
    """Standard deviation of all there are, not of a sample (numpy's `std` as it comes); 1 where it
    is 0 or there are none."""
    if values.numel() == 0:
        return 1.0
    return float(values.float().std(correction=0)) or 1.0


def kept_spread(kept_or_zero: Iterable[Tensor], count: int) -> float:
    """As `spread`, of numbers that lie among zeros.

    Args:
        kept_or_zero: ``[rows, columns]`` float32, piece by piece.
        count: how many of them are no filling zeros.
    """
    total = square = 0.0
    for piece in kept_or_zero:
        total += float(piece.sum(dim=-1).double().sum())
        square += float(torch.linalg.vector_norm(piece, dim=-1).double().square().sum())
    return _deviation(total, square, count)


def column_moments(pieces: Iterable[Tensor]) -> Tensor:
    """``[2, columns]`` float64: of each column and all before it the sum, and the sum of squares.

    Args:
        pieces: ``[rows, columns]`` float32, some rows at a time: each sum is of so few.
    """
    moments = [
        torch.stack([piece.sum(0).double(), torch.linalg.vector_norm(piece, dim=0).double() ** 2])
        for piece in pieces
    ]
    return torch.stack(moments).sum(0).cumsum(1)


def leading_spread(moments: Tensor, columns: int, rows: int) -> float:
    """As `spread`, of the first so many columns, from their `column_moments`."""
    total, square = moments[:, columns - 1].tolist()
    return _deviation(total, square, columns * rows)


def _deviation(total: float, square: float, count: int) -> float:
    if count == 0 or square == 0:
        return 1.0
    variance = square / count - (total / count) ** 2
    # What rounding leaves of numbers that are all the same is no spread; NaN stays NaN.
    return 1.0 if variance <= 1e-6 * square / count else math.sqrt(variance)


def block_spread(encoded: EncodedTensor, weights: Tensor, blocks: Sequence[int]) -> float:
    """The spread of the first `SPREAD_BLOCKS` of the row blocks that are kept.

    Args:
        weights: decoded rows from the first on, as many as these blocks need.
        blocks: which row blocks are kept, in order.
    """
    slices = encoded.block_slices()
    first = [weights[slices[block]].flatten() for block in blocks[:SPREAD_BLOCKS]]
    return spread(torch.cat(first)) if first else 1.0


def matching(noise: Tensor, anchor: Tensor, scale: float) -> float:
    """What noise is multiplied by to have the norm of `scale` times the anchor's values.

    Both are ``[rows, columns]``, what is missing of them; the factor is 0 where nothing is.
    """
    ours = _norm(noise)
    return scale * _norm(anchor) / ours if ours > 0 else 0.0


def _norm(values: Tensor) -> float:
    """Euclidean norm, summed in double precision over rows."""
    return float(torch.linalg.vector_norm(values.float(), dim=-1).double().norm())
