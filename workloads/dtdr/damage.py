"""Damage to encoded tensors, and to files: flipped bits, or bytes xor 0x7F, at a stated rate.

Bits and bytes are those of all that is stored, scales too; `codes` are bytes of the codes alone.

Every bit or byte is hit with the same probability, independently of the others: the gaps between
hits are geometric (L. Devroye, Non-Uniform Random Variate Generation, 1986, X.2). So little damage
to a large tensor costs little, and where hits fall depends on the draw and the tensor's name alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.dtdr.asking import Damage
from workloads.errors import InputError, did_you_mean
from workloads.training.streams import stream_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from workloads.dtdr.codec.tensors import EncodedTensor

WAYS: Final[tuple[Damage, ...]] = ("bits", "bytes", "codes")
XOR: Final = 0x7F
_AT_ONCE: Final = 1 << 20
_NOT_STORED: Final = ("levels",)
"""Parts that say how a file is read, as its index does."""


@dataclass(frozen=True, eq=False)
class Damaged:
    """A tensor after damage.

    Attributes:
        hits: how many bits or bytes were changed.
        missing_blocks: numbers of the row blocks that are known to be damaged, and so are as good
            as missing; none without checksums.
    """

    encoded: EncodedTensor
    hits: int = 0
    missing_blocks: tuple[int, ...] = ()

    def non_finite(self) -> int:
        """How many of its decoded numbers are NaN or infinite; those of missing blocks are not
        counted."""
        import torch

        if not self.hits:
            return 0
        missing = set(self.missing_blocks)
        return sum(
            int((~torch.isfinite(self.encoded.decoded(rows))).sum())
            for block, rows in enumerate(self.encoded.block_slices())
            if block not in missing
        )


def damaged(
    tensor: EncodedTensor,
    how: Damage,
    rate: float,
    draw: int,
    checksums: bool = False,
    expected: Sequence[int] | None = None,
) -> Damaged:
    """A damaged copy of an encoded tensor; what is plain is always whole, and given back as it is.

    With `checksums` the damaged blocks of rows are found by their CRC-32; `expected` are those of
    the tensor as it is, where they are at hand. Raises `InputError` for another way or rate, and
    for damage to the codes of a tensor of numbers.
    """
    _check(how, rate)
    if tensor.plain:
        return Damaged(tensor)
    hit, hits = _hit(_open_to(how, tensor), how, rate, f"dtdr/damage/{how}/{tensor.name}", draw)
    if not hits:
        return Damaged(tensor)
    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.dtdr.files.checksums import block_checksums, damaged_blocks

    copy = EncodedTensor(
        tensor.name, tensor.shape, tensor.dtype, tensor.recipe, {**tensor.parts, **hit}
    )
    if not checksums:
        return Damaged(copy, hits)
    stated = block_checksums(tensor) if expected is None else expected
    return Damaged(copy, hits, damaged_blocks(copy, stated))


def damaged_codes(tensor: EncodedTensor, rate: float, draw: int) -> EncodedTensor:
    """A copy of an encoded tensor with a share of its 8-bit codes xor 0x7F, and its scales whole.

    A hit on a code changes one coefficient by at most its row's largest, while one on the exponent
    of a scale or a float makes numbers of any size: so a tensor of numbers that are kept themselves
    is first made codes per row, by the same transform.
    """
    from dataclasses import replace

    from workloads.dtdr.codec.tensors import encode_tensor

    if tensor.recipe is not None and tensor.recipe.quantiser == "none":
        recipe = replace(tensor.recipe, quantiser="row")
        tensor = encode_tensor(tensor.name, tensor.decoded(), recipe)
    return damaged(tensor, "codes", rate, draw).encoded


def damage_file(path: Path, rate: float, how: Damage, seed: int, start: int = 0) -> int:
    """Damages a file in place from byte `start` on; says how many bits or bytes it changed.

    Where the hits fall depends on the seed, not on the file's name. Raises `InputError`.
    """
    import numpy as np

    _check(how, rate)
    if how == "codes":
        raise InputError("a file is damaged by bits or bytes: which are codes is not known there")
    if not path.is_file():
        raise InputError(f"{path} is no file; give one that can be damaged")
    if path.stat().st_size <= start:
        return 0
    data = np.memmap(path, dtype=np.uint8, mode="r+", offset=start)
    hits = 0
    for places in _places(len(data), how, rate, stream_seed(seed, f"dtdr/damage/{how}")):
        _change(data, places, how)
        hits += len(places)
    data.flush()
    return hits


def _check(how: str, rate: float) -> None:
    if how not in WAYS:
        raise InputError(f"damage {how!r} is not known; {did_you_mean(how, WAYS)}")
    if not 0 <= rate <= 1:
        raise InputError(f"a rate of damage of {rate}; valid: a share from 0 to 1")


def _open_to(how: Damage, tensor: EncodedTensor) -> dict[str, Tensor]:
    """The parts that damage of a kind can hit."""
    if how != "codes":
        return {name: part for name, part in tensor.parts.items() if name not in _NOT_STORED}
    if "codes" not in tensor.parts:
        raise InputError(
            f"{tensor.name} has no codes but the numbers themselves; damage it by bits or bytes"
        )
    return {"codes": tensor.parts["codes"]}


def _hit(
    parts: Mapping[str, Tensor], how: Damage, rate: float, stream: str, draw: int
) -> tuple[dict[str, Tensor], int]:
    """Copies of the parts that are hit, taken as one row of bytes in alphabetical order; hits."""
    import numpy as np
    import torch

    names = sorted(parts)
    ends = np.cumsum([parts[name].numel() * parts[name].element_size() for name in names])
    copies: dict[str, Tensor] = {}
    hits = 0
    unit = 8 if how == "bits" else 1
    for places in _places(int(ends[-1]), how, rate, stream_seed(draw, stream)):
        hits += len(places)
        cuts = np.searchsorted(places, ends * unit)
        first = 0
        for name, end, cut in zip(names, ends, cuts, strict=True):
            if cut > first:
                if name not in copies:
                    copies[name] = parts[name].detach().cpu().contiguous().clone()
                own = copies[name].reshape(-1).view(torch.uint8).numpy()
                _change(own, places[first:cut] - (int(end) - len(own)) * unit, how)
            first = cut
    return {name: copy.to(parts[name].device) for name, copy in copies.items()}, hits


def _places(size: int, how: Damage, rate: float, seed: int) -> Iterator[NDArray[np.int64]]:
    """Numbers of the bits or bytes (of `size` bytes) that are hit, ascending, many at a time."""
    import numpy as np

    total = size * 8 if how == "bits" else size
    if not rate or not total:
        return
    numbers = np.random.default_rng(seed)
    share = rate * total
    count = min(_AT_ONCE, math.ceil(share + 6 * math.sqrt(share)) + 1)
    last = -1
    while True:
        gaps = np.minimum(numbers.geometric(rate, count), total + 1)
        places = last + np.cumsum(gaps)
        last = int(places[-1])
        if last >= total:
            yield places[: np.searchsorted(places, total)]
            return
        yield places


def _change(data: NDArray[Any], places: NDArray[np.int64], how: Damage) -> None:
    import numpy as np

    if how == "bits":
        np.bitwise_xor.at(data, places >> 3, np.left_shift(1, places & 7).astype(np.uint8))
    else:
        data[places] ^= XOR
