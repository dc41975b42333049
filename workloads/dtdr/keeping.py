"""Which rows of a tensor, or which coefficients of a row, a fraction keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workloads.dtdr.asking import Domain
from workloads.training.streams import generator

if TYPE_CHECKING:
    from workloads.dtdr.codec.tensors import EncodedTensor


def kept(total: int, fraction: float) -> int:
    """How many of `total` blocks or coefficients a fraction keeps: at least one.

    >>> [kept(200, fraction) for fraction in (0.001, 0.01, 0.5, 1.0)]
    [1, 2, 100, 200]
    """
    return max(1, int(total * fraction))


def kept_rows(encoded: EncodedTensor, fraction: float) -> int:
    """How many leading rows are in the row blocks that a fraction keeps."""
    last = list(encoded.block_slices())[kept(encoded.blocks, fraction) - 1]
    return int(last.stop)


def ranks(coefficients: Tensor, domain: Domain, draw: int, name: str) -> Tensor:
    """Each coefficient's place, from 0, in the order in which its own row is kept.

    The first `kept(columns, fraction)` of that order are kept: what a fraction keeps, every larger
    one keeps too. Of coefficients that are equally large the first is kept first. The order at
    random is another for each row, and depends on nothing but `draw` and `name`.

    Args:
        coefficients: ``[rows, columns]``.

    Returns:
        ``[rows, columns]`` int32.
    """
    rows, columns = coefficients.shape
    places = torch.arange(columns, dtype=torch.int32, device=coefficients.device)
    places = places.expand(rows, columns)
    if domain == "leading":
        return places
    if domain == "random":
        keys = torch.rand(rows, columns, generator=generator(draw, f"dtdr/kept/{name}"))
        order = keys.argsort(dim=1).to(coefficients.device)
    else:
        order = coefficients.abs().argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places)
