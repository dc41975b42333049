"""The inverse transform of some columns of coefficients: what they add to the rows.

A transform is linear, so rows of which a few coefficients change need not be computed again: what
changes is restored alone and added.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from workloads.dtdr.codec.hadamard import walsh_hadamard
from workloads.dtdr.codec.recipe import Transform
from workloads.dtdr.codec.tiles import tile_rows, tiles
from workloads.dtdr.codec.transforms import restored

FEW_COLUMNS = 192
"""Up to which a product with their basis vectors is cheaper than a DCT of all."""
_NARROW: dict[Transform, int] = {
    "none": 0,
    "hadamard": 64,
    "dct": FEW_COLUMNS,
    "hadamard+dct": FEW_COLUMNS,
}
"""Columns up to which a product with their basis vectors is the cheapest way."""
_FACTOR = 32
"""Of Walsh–Hadamard: how many equal pieces the columns of a row are seen in."""
_FEW = 8
"""Pieces up to which it is cheaper to transform them alone than all."""
_ADDITIONS = 24
"""After so many changes the sum is computed afresh: each adds a rounding error of float32."""


class PartialSum:
    """Rows restored from the columns before an edge alone, or from those behind it alone.

    Moving the edge costs in proportion to the columns it passes (Walsh–Hadamard) or at most one
    transform.

    Args:
        source: ``[rows, columns]`` float32 coefficients.
        length: of the rows that they stand for.
        behind: the columns from the edge on, instead of those before it.
    """

    def __init__(self, source: Tensor, transform: Transform, length: int, behind: bool) -> None:
        self.source = source
        self._transform = transform
        self._length = length
        self._behind = behind
        # Whole, also where the row proper is shorter than its padding: pieces are added in place.
        self._rows = torch.empty_like(source, memory_format=torch.contiguous_format)
        self._edge: int | None = None
        self._additions = 0
        # What is not finite would stay when it is subtracted. A sum shows it in one pass; should
        # it overflow, nothing is subtracted, which is right as well.
        self._subtractable = bool(source.sum().isfinite())

    @property
    def bytes(self) -> int:
        """Memory of the source and the rows."""
        return 2 * self._rows.numel() * self._rows.element_size()

    def at(self, edge: int) -> Tensor:
        """The rows ``[rows, length]`` float32: the sum's own, valid until the next call."""
        columns = self.source.shape[1]
        afresh = columns - edge if self._behind else edge
        passed = None if self._edge is None else abs(edge - self._edge)
        if (
            passed is None
            or passed > afresh
            or self._additions >= _ADDITIONS
            or not self._subtractable
        ):
            self._rows.zero_()
            self._add(edge if self._behind else 0, columns if self._behind else edge, 1.0)
            self._additions = 0
        elif passed and self._edge is not None:
            grows = (edge < self._edge) == self._behind
            self._add(min(edge, self._edge), max(edge, self._edge), 1.0 if grows else -1.0)
            self._additions += 1
        self._edge = edge
        return self._rows[:, : self._length]

    def _add(self, start: int, stop: int, sign: float) -> None:
        """Adds what the columns from `start` to `stop` restore to."""
        columns = self.source.shape[1]
        piece = max(1, columns // _FACTOR)
        first, last = start // piece, -(-stop // piece)
        if start == stop:
            return
        if stop - start <= _NARROW[self._transform]:
            self._add_narrow(start, stop, sign)
        elif self._transform == "hadamard" and columns >= 2 * _FACTOR and last - first <= _FEW:
            self._add_pieces(start, stop, piece, sign)
        else:
            for tile in self._tiles():
                taken = self._taken(tile, start, stop, 0, columns)
                self._rows[tile].add_(restored(taken, self._transform, columns), alpha=sign)

    def _add_narrow(self, start: int, stop: int, sign: float) -> None:
        columns = self.source.shape[1]
        unit = torch.zeros((stop - start, columns), device=self.source.device)
        unit.diagonal(start).fill_(1)
        basis = restored(unit, self._transform, columns)
        for tile in self._tiles():
            self._rows[tile].addmm_(self.source[tile, start:stop], basis, alpha=sign)

    def _add_pieces(self, start: int, stop: int, piece: int, sign: float) -> None:
        """H of a·b is the Kronecker product of H of a and H of b: of coefficients seen as [a, b]
        only the rows that are not all zero are multiplied, from either side."""
        first, last = start // piece, -(-stop // piece)
        outer = walsh_hadamard(torch.eye(_FACTOR))[:, first:last].to(self.source.device)
        for tile in self._tiles():
            taken = self._taken(tile, start, stop, first * piece, last * piece)
            inner = walsh_hadamard(taken.view(-1, piece)).view(len(taken), last - first, piece)
            rows = self._rows[tile].view(-1, _FACTOR, piece)
            rows.baddbmm_(outer.expand(len(rows), -1, -1), inner, alpha=sign)

    def _taken(self, tile: slice, start: int, stop: int, first: int, last: int) -> Tensor:
        """Columns `first` to `last` of a tile, with zeros outside `start` to `stop`."""
        taken = self.source[tile, first:last].clone(memory_format=torch.contiguous_format)
        taken[:, : start - first] = 0
        taken[:, stop - first :] = 0
        return taken

    def _tiles(self) -> Iterator[slice]:
        total, columns = self.source.shape
        return tiles(slice(0, total), total, tile_rows(columns, self.source.device))
