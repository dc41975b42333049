"""Coefficients as 8-bit codes and back. All functions see them as [rows, columns].

The parts that stand for coefficients, by quantiser:

- `row`: codes int8 [rows, columns], scale float32 [rows]; a number is code × scale, the scale the
  row's largest magnitude / 127;
- `block`: the same with scale [rows, groups], one for each 16 neighbours in a row;
- `minmax`: codes uint8 [rows, columns], low and high float32 [blocks], one pair for each
  `block_rows` rows; a number is code / levels × (high − low) + low. Levels are 255, or what the
  part `levels` int32 [1] says: imported codes may have other than 8 bits;
- `none`: values [rows, columns], the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import max_pool1d, pad

from workloads.dtdr.codec.recipe import BLOCK, Recipe

LARGEST = 127
"""Code of the largest magnitude with a symmetric quantiser."""
LEVELS = 255
"""Code of the largest number with an affine quantiser of 8 bits."""
_PER_BLOCK_OF_ROWS = ("low", "high")


def part_shapes(rows: int, columns: int, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """The parts that coefficients [rows, columns] have, and their shapes."""
    blocks = -(-rows // recipe.block_rows)
    match recipe.quantiser:
        case "none":
            return {"values": (rows, columns)}
        case "row":
            return {"codes": (rows, columns), "scale": (rows,)}
        case "block":
            return {"codes": (rows, columns), "scale": (rows, -(-columns // BLOCK))}
        case "minmax":
            return {"codes": (rows, columns), "low": (blocks,), "high": (blocks,)}


def part_rows(name: str, rows: slice, recipe: Recipe) -> slice:
    """Where a part has what belongs to these rows of coefficients."""
    if name not in _PER_BLOCK_OF_ROWS:
        return rows
    return slice(rows.start // recipe.block_rows, -(-rows.stop // recipe.block_rows))


def quantise(
    coefficients: torch.Tensor, recipe: Recipe, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """The parts of finite coefficients [rows, columns]; `dtype` is that of values as they are.

    Blocks of rows are counted from the first row that is given.
    """
    match recipe.quantiser:
        case "none":
            return {"values": coefficients.to(dtype)}
        case "row":
            scale = torch.maximum(coefficients.amax(1), -coefficients.amin(1)) / LARGEST
            return {"codes": _codes(coefficients, scale[:, None]), "scale": scale}
        case "block":
            groups = _grouped(coefficients)
            # Pooling takes half the time of the maximum along an axis of 16.
            scale = max_pool1d(groups.flatten(1).abs(), BLOCK) / LARGEST
            codes = _codes(groups, scale[..., None]).flatten(1)
            return {"codes": codes[:, : coefficients.shape[1]].contiguous(), "scale": scale}
        case "minmax":
            low, high = _bounds(coefficients, recipe.block_rows)
            place = _block_of(slice(0, len(coefficients)), recipe, low.device)
            span = (high - low)[place, None]
            share = (coefficients - low[place, None]).div_(torch.where(span == 0, 1, span))
            # To int8 and back by the first bit: torch takes four times as long to uint8.
            steps = share.mul_(LEVELS).round_().clamp_(0, LEVELS).sub_(128).to(torch.int8)
            codes = steps.view(torch.uint8).bitwise_xor_(128)
            return {"codes": codes, "low": low, "high": high}


def dequantise(
    parts: Mapping[str, torch.Tensor],
    recipe: Recipe,
    columns: int,
    rows: slice | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The coefficients [rows, columns] that the parts stand for, all or those of a slice of rows.

    They are the caller's own, also where the parts hold them as they are.
    Each number depends on its own code and scale only: a slice has the bits that the whole has.
    """
    if recipe.quantiser == "none":
        return parts["values"][_within(parts["values"], rows)].to(dtype, copy=True)
    rows = _within(parts["codes"], rows)
    numbers = parts["codes"][rows].to(dtype)
    match recipe.quantiser:
        case "row":
            return numbers.mul_(parts["scale"][rows, None])
        case "block":
            scale = parts["scale"][rows]
            if columns % BLOCK == 0:
                numbers.view(*scale.shape, BLOCK).mul_(scale[..., None])
                return numbers
            return numbers.mul_(scale.repeat_interleave(BLOCK, 1)[:, :columns])
        case "minmax":
            place = _block_of(rows, recipe, numbers.device)
            low, high = parts["low"][place, None], parts["high"][place, None]
            levels = int(parts["levels"]) if "levels" in parts else LEVELS
            return numbers.div_(levels).mul_(high - low).add_(low)


def _within(part: torch.Tensor, rows: slice | None) -> slice:
    start, stop, _ = (rows or slice(None)).indices(len(part))
    return slice(start, max(start, stop))


def _codes(numbers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    steps = numbers / torch.where(scale == 0, 1, scale)
    return steps.round_().clamp_(-LARGEST, LARGEST).to(torch.int8)


def _grouped(coefficients: torch.Tensor) -> torch.Tensor:
    """[rows, groups, 16], with zeros after the last column."""
    missing = -coefficients.shape[1] % BLOCK
    whole = pad(coefficients, (0, missing)) if missing else coefficients
    return whole.reshape(len(whole), -1, BLOCK)


def _bounds(coefficients: torch.Tensor, block_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and largest of each block of rows [blocks]."""
    missing = -len(coefficients) % block_rows
    least = pad(coefficients.amin(1), (0, missing), value=float("inf"))
    most = pad(coefficients.amax(1), (0, missing), value=float("-inf"))
    return least.view(-1, block_rows).amin(1), most.view(-1, block_rows).amax(1)


def _block_of(rows: slice, recipe: Recipe, device: torch.device) -> torch.Tensor:
    return torch.arange(rows.start, rows.stop, device=device) // recipe.block_rows
