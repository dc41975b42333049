"""One tensor of a model in memory that goes from point to point with the least work."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.dtdr.asking import Asked
from workloads.dtdr.codec.recipe import Transform
from workloads.dtdr.codec.tensors import EncodedTensor
from workloads.dtdr.codec.tiles import tile_rows, tiles
from workloads.dtdr.codec.transforms import restored
from workloads.dtdr.columns import FEW_COLUMNS, PartialSum
from workloads.dtdr.fills import (
    SPREAD_BLOCKS,
    block_spread,
    column_moments,
    kept_spread,
    leading_spread,
    matching,
)
from workloads.dtdr.keeping import kept, kept_rows, ranks
from workloads.dtdr.rebuilding import coefficient_fill, rebuilt, row_fill
from workloads.dtdr.sources import Sources, device_of


@dataclass(frozen=True)
class _Filling:
    """What decides the numbers in missing rows, wherever they begin."""

    fill: str
    scale: float
    order: int | None
    draw: int | None
    factor: float


_NOTHING = _Filling("zero", 0.0, None, None, 0.0)


class LiveTensor:
    """A compressed tensor in the model's memory.

    Args:
        weights: the model's own tensor, of the encoded one's shape; written to in place.
        sources: noise and anchors, shared by the tensors of a model.
    """

    def __init__(self, encoded: EncodedTensor, weights: Tensor, sources: Sources) -> None:
        assert encoded.recipe is not None
        self._encoded = encoded
        self._transform: Transform = encoded.recipe.transform
        self._sources = sources
        self._weights = weights.detach().view(encoded.rows, encoded.length)
        self._full = torch.empty_like(self._weights)
        self._full.copy_(encoded.decoded().view(encoded.rows, encoded.length))
        self._full_square = _square(self._full)
        self._deviations: dict[int, float] = {}
        # Of the rows: how many first ones are those of the full decode, and what the others hold.
        self._whole_rows = 0
        self._filling: _Filling | None = None
        self._difference: float | None = None

    def move_to(self, asked: Asked) -> None:
        """Writes what the point asks for."""
        self._difference = None
        if asked.damaged or asked.noise > 0:
            anew = rebuilt(self._encoded, asked, self._sources).view(self._weights.shape)
            self._write(lambda tile: anew[tile])
        elif asked.fraction == 1 or asked.domain == "rows":
            self._move_rows(asked)
        elif asked.domain == "leading" and self._adding_is_cheaper(asked):
            self._sum_up(asked)
        else:
            self._mix(asked)

    def squares(self) -> tuple[float, float]:
        """Of the difference to the full decode, and of the full decode: sums of squares."""
        if self._difference is None:
            rest = slice(self._whole_rows, None)
            self._difference = _square(self._weights[rest].float() - self._full[rest].float())
        return self._difference, self._full_square

    def _write(self, weights: Callable[[slice], Tensor]) -> None:
        """All rows, a tile at a time, by way of their own dtype as in a decoded file."""
        self._whole_rows, self._filling = 0, None
        for tile in self._tiles():
            self._weights[tile] = weights(tile).to(self._encoded.dtype).to(self._weights)

    def _tiles(self) -> Iterator[slice]:
        encoded = self._encoded
        height = tile_rows(encoded.columns, device_of(encoded))
        return tiles(slice(0, encoded.rows), encoded.rows, height)

    def _move_rows(self, asked: Asked) -> None:
        encoded, rows = self._encoded, self._encoded.rows
        stood, filled = self._whole_rows, self._filling
        self._whole_rows, self._filling = 0, None  # unknown, should an anchor refuse half-way
        whole = kept_rows(encoded, asked.fraction)
        if whole > stood:
            self._weights[stood:whole] = self._full[stood:whole]
        if whole < rows:
            filling = self._filling_of(asked, whole)
            filled_from = stood if filling == filled else rows
            if whole < filled_from:
                self._fill(slice(whole, filled_from), asked)
            filled = filling
        self._whole_rows, self._filling = whole, filled

    def _fill(self, gone: slice, asked: Asked) -> None:
        if asked.fill == "zero":
            self._weights[gone] = 0
            return
        deviation = self._deviation(asked) if asked.fill == "random" else 1.0
        values = row_fill(self._encoded, asked, self._sources, gone, deviation)
        self._weights[gone] = values.to(self._encoded.dtype).to(self._weights)

    def _filling_of(self, asked: Asked, whole: int) -> _Filling:
        if asked.fill == "random":
            return _Filling("random", 0.0, None, asked.draw, self._deviation(asked))
        if not asked.guided:
            return _NOTHING
        order = asked.draw if asked.shuffled else None
        if asked.fill == "guided":
            return _Filling("guided", asked.scale, order, None, 0.0)
        # Noise that matches a norm is another in every row when one row more is missing.
        return _Filling("matched", asked.scale, order, asked.draw, float(whole))

    def _deviation(self, asked: Asked) -> float:
        """The spread of the first kept blocks: another one only while few are kept."""
        count = min(kept(self._encoded.blocks, asked.fraction), SPREAD_BLOCKS)
        if count not in self._deviations:
            stop = self._encoded.block_slices()[count - 1].stop
            first = self._encoded.decoded(slice(0, stop))
            self._deviations[count] = block_spread(self._encoded, first, range(count))
        return self._deviations[count]

    def _adding_is_cheaper(self, asked: Asked) -> bool:
        """Whether to add what changes to the sums that there are, or to transform all anew. A fill
        needs a second sum: both are cheaper than one Walsh–Hadamard transform never, and than one
        DCT only while few columns are kept."""
        if self._transform == "none":
            return False
        if asked.fill != "random" and not asked.guided:
            return True
        few = kept(self._encoded.columns, asked.fraction) <= FEW_COLUMNS
        return few and self._transform != "hadamard"

    def _mix(self, asked: Asked) -> None:
        """Coefficients and fill in one inverse transform, by tiles that stay in the cache."""
        encoded, name = self._encoded, self._encoded.name
        coefficients = self._coefficients()
        count = kept(encoded.columns, asked.fraction)
        values, alike = coefficient_fill(encoded, asked, self._sources)
        if asked.domain == "leading":
            factor = self._leading_factor(asked, count, values, alike)

            def mixed(tile: slice) -> Tensor:
                rows = coefficients[tile].clone()
                if values is None:
                    rows[:, count:] = 0
                else:
                    torch.mul(values[tile, count:], factor, out=rows[:, count:])
                return rows
        else:
            draw = asked.draw if asked.domain == "random" else None
            places = self._sources.memory.tensor(
                ("ranks", name, asked.domain, draw),
                lambda: ranks(coefficients, asked.domain, asked.draw, name),
            )

            def known(tile: slice) -> Tensor:
                return torch.where(places[tile] < count, coefficients[tile], 0.0)

            factor = asked.scale
            if values is not None and alike is not None:
                absent = [torch.where(places < count, 0.0, numbers) for numbers in (values, alike)]
                factor = matching(absent[0], absent[1], asked.scale)
            elif asked.fill == "random":
                factor = kept_spread(map(known, self._tiles()), count * encoded.rows)

            def mixed(tile: slice) -> Tensor:
                if values is None:
                    return known(tile)
                return torch.where(places[tile] < count, coefficients[tile], values[tile] * factor)

        self._write(
            lambda tile: restored(mixed(tile), self._transform, encoded.length, in_place=True)
        )

    def _leading_factor(
        self, asked: Asked, count: int, values: Tensor | None, alike: Tensor | None
    ) -> float:
        """What the fill behind the first `count` columns is multiplied by."""
        if values is not None and alike is not None:
            return matching(values[:, count:], alike[:, count:], asked.scale)
        if asked.fill != "random":
            return asked.scale
        moments = self._sources.memory.tensor(
            ("moments", self._encoded.name),
            lambda: column_moments(self._coefficients()[tile] for tile in self._tiles()),
        )
        return leading_spread(moments, count, self._encoded.rows)

    def _coefficients(self) -> Tensor:
        encoded = self._encoded
        return self._sources.memory.tensor(("coefficients", encoded.name), encoded.coefficients)

    def _sum_up(self, asked: Asked) -> None:
        """The kept coefficients' part of the rows, which all fills share, and the fill's part."""
        edge = kept(self._encoded.columns, asked.fraction)
        rows = self._sum("known", False, self._coefficients).at(edge)
        values, alike = coefficient_fill(self._encoded, asked, self._sources)
        if values is None:
            self._write(lambda tile: rows[tile])
            return
        factor = self._leading_factor(asked, edge, values, alike)
        order = asked.draw if asked.shuffled else None
        what = ("anchor", order) if asked.fill == "guided" else ("noise", asked.draw)
        filled = self._sum(what, True, lambda: values).at(edge)
        self._write(lambda tile: torch.add(rows[tile], filled[tile], alpha=factor))

    def _sum(self, what: Hashable, behind: bool, source: Callable[[], Tensor]) -> PartialSum:
        def make() -> PartialSum:
            return PartialSum(source(), self._transform, self._encoded.length, behind)

        key = ("sum", self._encoded.name, what)
        return self._sources.memory.get(key, make, lambda made: made.bytes)


def _square(values: Tensor) -> float:
    """Sum of squares, in double precision over rows."""
    norms = torch.linalg.vector_norm(values.float(), dim=-1)
    return float(norms.double().square().sum())
