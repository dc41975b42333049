"""Checksums of encoded tensors: one of each tensor, and one of each of its blocks of rows, so that
damage is not only seen but found."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from workloads.dtdr.codec.tensors import EncodedTensor

_CHUNK = 1 << 20


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, in order of its elements; its own memory if contiguous."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def tensor_checksum(parts: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the bytes of all parts, in alphabetical order of their names."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(raw_bytes(parts[name]))
    return digest.hexdigest()


def block_checksums(tensor: EncodedTensor) -> tuple[int, ...]:
    """CRC-32 of each block of rows, over that block's share of each part, in alphabetical order of
    the parts' names. Of a plain tensor: one, of the whole."""
    if tensor.plain:
        return (_crc(tensor.parts[name] for name in sorted(tensor.parts)),)
    return tuple(
        _crc(_share(tensor, name, rows) for name in sorted(tensor.parts))
        for rows in tensor.block_slices()
    )


def damaged_blocks(tensor: EncodedTensor, expected: Sequence[int]) -> tuple[int, ...]:
    """Numbers of the blocks whose checksums are not the expected ones."""
    pairs = zip(block_checksums(tensor), expected, strict=True)
    return tuple(block for block, (found, stated) in enumerate(pairs) if found != stated)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _share(tensor: EncodedTensor, name: str, rows: slice) -> torch.Tensor:
    """What a part has for a block: its rows, its own bounds, or what all blocks need."""
    from workloads.dtdr.codec.quantisers import part_rows

    assert tensor.recipe is not None
    part = tensor.parts[name]
    return part if name == "levels" else part[part_rows(name, rows, tensor.recipe)]


def _crc(shares: Iterable[torch.Tensor]) -> int:
    value = 0
    for share in shares:
        value = zlib.crc32(raw_bytes(share), value)
    return value
