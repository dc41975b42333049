"""A tensor encoded: its parts, and what they decode to, in whole or some rows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from workloads.dtdr.codec.quantisers import dequantise, part_rows, part_shapes, quantise
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tiles import tile_rows, tiles
from workloads.dtdr.codec.transforms import padded_length, restored, transformed
from workloads.errors import InputError


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """A tensor in parts (see `quantisers`), or as it is: then `recipe` is None.

    Its rows are those of [product of the leading axes, last axis]. Raises `InputError`, naming the
    tensor, if the parts are not those of its recipe and shape.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    recipe: Recipe | None
    parts: Mapping[str, torch.Tensor]

    def __post_init__(self) -> None:
        given = {name: tuple(part.shape) for name, part in self.parts.items() if name != "levels"}
        if self.recipe is None:
            expected = {"values": tuple(self.shape)}
        else:
            expected = part_shapes(self.rows, self.columns, self.recipe)
        if given != expected:
            raise InputError(
                f"{self.name}: an encoded tensor of shape {list(self.shape)} has the parts "
                f"{_listed(expected)}, not {_listed(given)}"
            )

    @property
    def plain(self) -> bool:
        """Whether it is stored as it is, and so always whole."""
        return self.recipe is None

    @property
    def rows(self) -> int:
        """Rows, all leading axes taken together; a plain scalar or vector is one row."""
        return math.prod(self.shape[:-1])

    @property
    def length(self) -> int:
        """Numbers in a row."""
        return self.shape[-1] if self.shape else 1

    @property
    def columns(self) -> int:
        """Coefficients of a row: its length, padded as the transform needs it."""
        return padded_length(self.length, self.recipe.transform) if self.recipe else self.length

    @property
    def blocks(self) -> int:
        """Blocks of rows, the units of truncation. A plain tensor is one."""
        return -(-self.rows // self.recipe.block_rows) if self.recipe else 1

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.numel() * part.element_size() for part in self.parts.values())

    @property
    def original_bytes(self) -> int:
        """Bytes of the tensor that was encoded."""
        return math.prod(self.shape) * self.dtype.itemsize

    def block_slices(self) -> list[slice]:
        """The rows of each block, in order; the last block may be lower than the others."""
        if self.recipe is None:
            return [slice(0, self.rows)]
        height = self.recipe.block_rows
        starts = range(0, self.rows, height)
        return [slice(start, min(start + height, self.rows)) for start in starts]

    def coefficients(self, rows: slice | None = None) -> torch.Tensor:
        """Coefficients float32 [rows, padded], all or those of a slice of rows: the same bits.

        Raises `ValueError` for a plain tensor, which has none.
        """
        if self.recipe is None:
            raise ValueError(f"{self.name} is stored as it is: it has no coefficients")
        return dequantise(self.parts, self.recipe, self.columns, rows)

    def decoded(self, rows: slice | None = None) -> torch.Tensor:
        """The tensor in its own shape and dtype, or [rows, length] of a slice of rows.

        A slice has the bits that the whole has. A plain tensor is not copied.
        """
        wanted = _whole_steps(rows, self.rows)
        if self.recipe is None:
            values = self.parts["values"]
            return values if rows is None else values.reshape(self.rows, self.length)[wanted]
        device = next(iter(self.parts.values())).device
        size = (wanted.stop - wanted.start, self.length)
        out = torch.empty(size, dtype=self.dtype, device=device)
        for tile in tiles(wanted, self.rows, tile_rows(self.columns, device)):
            numbers = dequantise(self.parts, self.recipe, self.columns, tile, self._exact)
            decoded = restored(numbers, self.recipe.transform, self.length, in_place=True)
            first, last = max(tile.start, wanted.start), min(tile.stop, wanted.stop)
            part = decoded[first - tile.start : last - tile.start]
            out[first - wanted.start : last - wanted.start] = part
        return out.view(self.shape) if rows is None else out

    @property
    def _exact(self) -> torch.dtype:
        """What is computed in: numbers that are kept themselves keep float64."""
        kept = self.recipe is not None and self.recipe.quantiser == "none"
        return torch.float64 if kept and self.dtype == torch.float64 else torch.float32


def encode_tensor(name: str, tensor: torch.Tensor, recipe: Recipe) -> EncodedTensor:
    """The tensor encoded by the recipe; of fewer than two axes, empty or not of floats: as it is.

    Needs memory for what it gives and for a few tiles of rows. Raises `InputError`, naming the
    tensor and how many, for numbers that are not finite or too large to be transformed.
    """
    tensor = tensor.detach()
    shape, dtype = tuple(tensor.shape), tensor.dtype
    if tensor.dim() < 2 or not tensor.numel() or not tensor.is_floating_point():
        if tensor.is_floating_point():
            _check_finite(name, tensor)
        return EncodedTensor(name, shape, dtype, None, {"values": tensor.clone()})
    rows = tensor.reshape(-1, shape[-1])
    columns = padded_length(shape[-1], recipe.transform)
    height = tile_rows(columns, tensor.device)
    if recipe.quantiser == "minmax":  # a block of rows is quantised as one
        height = max(1, height // recipe.block_rows) * recipe.block_rows
    parts: dict[str, torch.Tensor] = {}
    shapes = part_shapes(len(rows), columns, recipe)
    exact = recipe.quantiser == "none" and dtype == torch.float64
    for tile in tiles(slice(0, len(rows)), len(rows), height):
        numbers = rows[tile].to(torch.float64 if exact else torch.float32)
        coefficients = transformed(numbers, recipe.transform)
        _check_size(name, tensor, coefficients)
        for part, values in quantise(coefficients, recipe, dtype).items():
            if part not in parts:
                parts[part] = values.new_empty(shapes[part])
            parts[part][part_rows(part, tile, recipe)] = values
    return EncodedTensor(name, shape, dtype, recipe, parts)


def not_finite(numbers: torch.Tensor) -> int:
    """How many are NaN or infinite; none where they are no floats."""
    if not numbers.is_floating_point():
        return 0
    wide = numbers.float() if numbers.element_size() == 1 else numbers  # torch asks no 8-bit floats
    if bool(wide.sum(dtype=torch.float32).isfinite()):  # a fifth of the time of a count
        return 0
    return int((~wide.isfinite()).sum())


def _check_size(name: str, tensor: torch.Tensor, coefficients: torch.Tensor) -> None:
    """Refuses what is not finite, and coefficients of which a difference could overflow."""
    limit = torch.finfo(coefficients.dtype).max / 4
    least, most = torch.aminmax(coefficients)
    if -limit < least.item() and most.item() < limit:
        return
    _check_finite(name, tensor)
    largest = tensor.double().abs().amax().item()
    raise InputError(
        f"{name}: its largest magnitude, {largest:.3g}, is too large to be transformed in "
        f"{str(coefficients.dtype).removeprefix('torch.')}; rescale the tensor"
    )


def _check_finite(name: str, tensor: torch.Tensor) -> None:
    numbers = tensor.float() if tensor.element_size() == 1 else tensor  # torch asks no 8-bit floats
    nan, infinite = int(numbers.isnan().sum()), int(numbers.isinf().sum())
    if nan or infinite:
        raise InputError(
            f"{name}: {nan + infinite:,} of {tensor.numel():,} numbers are not finite "
            f"({nan:,} NaN, {infinite:,} infinite); a model with such weights cannot be encoded"
        )


def _whole_steps(rows: slice | None, total: int) -> slice:
    if rows is None:
        return slice(0, total)
    start, stop, step = rows.indices(total)
    if step != 1:
        raise ValueError(f"rows are taken in steps of one, not of {step}")
    return slice(start, max(start, stop))


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
