"""Rows taken a tile at a time, so that what is computed on them stays in the cache.

Tiles begin at multiples of their height, counted from the first row of a tensor. Whoever asks for
some rows only gets whole tiles computed: with as many threads, products and FFTs of the same shape
give the same bits, those of another height need not.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

_ELEMENTS = 1 << 18
"""In a tile on the CPU: 1 MiB of float32, the size of a second-level cache."""
_ELEMENTS_ON_DEVICE = 1 << 26
"""In a tile elsewhere, where launching a kernel is what costs and memory is what limits."""


def tile_rows(columns: int, device: torch.device) -> int:
    """Height of a tile of so many columns."""
    elements = _ELEMENTS if device.type == "cpu" else _ELEMENTS_ON_DEVICE
    return max(1, elements // max(1, columns))


def tiles(rows: slice, total: int, height: int) -> Iterator[slice]:
    """The tiles of `total` rows that cover `rows`, as slices from the first row of all."""
    for start in range(rows.start // height * height, rows.stop, height):
        yield slice(start, min(start + height, total))
