"""One tensor as a point asks for it, from scratch: what is known of it, and a fill for the rest."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from workloads.dtdr.asking import Asked
from workloads.dtdr.codec.recipe import Transform
from workloads.dtdr.codec.tensors import EncodedTensor
from workloads.dtdr.codec.transforms import restored
from workloads.dtdr.damage import damaged
from workloads.dtdr.fills import block_spread, kept_spread, matching
from workloads.dtdr.keeping import kept, ranks
from workloads.dtdr.noise import coefficient_noise
from workloads.dtdr.sources import Sources, device_of


def rebuilt(
    encoded: EncodedTensor, asked: Asked, sources: Sources, lost: Collection[int] = ()
) -> Tensor:
    """The tensor in its own shape and dtype; a plain one as it lies there, not copied.

    First its bytes are damaged, then its coefficients get noise, then the share that is not kept is
    filled, and so are the blocks of rows that are `lost` already. Kept row blocks have the bits of
    the full decode.
    """
    if encoded.plain:
        return encoded.decoded()
    known, missing = encoded, frozenset(lost)
    if asked.damaged:
        assert asked.damage is not None
        stated = sources.checksums(encoded) if asked.checksums else None
        found = damaged(encoded, asked.damage, asked.rate, asked.draw, asked.checksums, stated)
        known, missing = found.encoded, missing | frozenset(found.missing_blocks)
    if asked.domain == "rows" or (asked.fraction == 1 and not missing):
        weights = _rows(encoded, known, asked, sources, missing)
    else:
        weights = _coefficients(encoded, known, asked, sources, missing)
    return weights.to(encoded.dtype).view(encoded.shape)


def coefficient_fill(
    encoded: EncodedTensor, asked: Asked, sources: Sources
) -> tuple[Tensor | None, Tensor | None]:
    """What missing coefficients are filled from, ``[rows, columns]`` float32: the values that are
    scaled, and those whose norm they are to match. None where there are none."""
    if asked.fill == "random":
        return sources.noise(encoded, asked, encoded.columns), None
    if not asked.anchored:
        return None, None
    anchor = sources.anchor_coefficients(encoded, asked)
    if asked.fill == "guided":
        return anchor, None
    return sources.noise(encoded, asked, encoded.columns), anchor


def row_fill(
    encoded: EncodedTensor, asked: Asked, sources: Sources, gone: Tensor | slice, deviation: float
) -> Tensor:
    """The fill of the missing rows, ``[missing, length]`` or one zero for all, in any dtype.

    Args:
        gone: which rows are missing: ``[rows]`` bool, or a slice.
        deviation: standard deviation of what is kept, for the random fill.
    """
    if asked.fill == "random":
        return sources.noise(encoded, asked, encoded.length)[gone] * deviation
    if not asked.anchored:
        return torch.zeros((), device=device_of(encoded))
    anchor = sources.anchor_weights(encoded, asked)[gone]
    if asked.fill == "guided":
        return anchor * asked.scale
    noise = sources.noise(encoded, asked, encoded.length)[gone]
    return noise * matching(noise, anchor, asked.scale)


def _rows(
    encoded: EncodedTensor,
    known: EncodedTensor,
    asked: Asked,
    sources: Sources,
    missing: Collection[int],
) -> Tensor:
    if asked.noise > 0:
        weights = restored(
            _known_coefficients(known, asked, missing), _transform(known), known.length
        )
        weights = weights.to(known.dtype)
    else:
        weights = known.decoded().view(known.rows, known.length)
    slices = known.block_slices()
    blocks = [block for block in range(kept(known.blocks, asked.fraction)) if block not in missing]
    gone = torch.ones(known.rows, dtype=torch.bool, device=weights.device)
    for block in blocks:
        gone[slices[block]] = False
    if gone.any():
        deviation = block_spread(known, weights, blocks) if asked.fill == "random" else 1.0
        weights[gone] = row_fill(encoded, asked, sources, gone, deviation).to(weights.dtype)
    return weights


def _coefficients(
    encoded: EncodedTensor,
    known: EncodedTensor,
    asked: Asked,
    sources: Sources,
    missing: Collection[int],
) -> Tensor:
    coefficients = _known_coefficients(known, asked, missing)
    places = ranks(coefficients, asked.domain, asked.draw, known.name)
    is_kept = places < kept(known.columns, asked.fraction)
    slices = known.block_slices()
    for block in missing:
        is_kept[slices[block]] = False
    values, alike = coefficient_fill(encoded, asked, sources)
    target = torch.where(is_kept, coefficients, 0.0)
    if values is not None:
        factor = asked.scale
        if alike is not None:
            absent = [torch.where(is_kept, 0.0, numbers) for numbers in (values, alike)]
            factor = matching(absent[0], absent[1], asked.scale)
        elif asked.fill == "random":
            factor = kept_spread([target], int(is_kept.sum()))
        target = torch.where(is_kept, target, values * factor)
    return restored(target, _transform(known), known.length)


def _known_coefficients(known: EncodedTensor, asked: Asked, missing: Collection[int]) -> Tensor:
    coefficients = known.coefficients()
    if asked.noise == 0:
        return coefficients
    rows = None
    if missing:
        rows = torch.ones(known.rows, dtype=torch.bool, device=coefficients.device)
        for block in missing:
            rows[known.block_slices()[block]] = False
    return coefficients + coefficient_noise(known, asked.noise, asked.draw, coefficients, rows)


def _transform(encoded: EncodedTensor) -> Transform:
    assert encoded.recipe is not None
    return encoded.recipe.transform
