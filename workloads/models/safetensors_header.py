"""What a safetensors file holds, read from its header alone (no torch, no weights)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from workloads.errors import InputError

_LONGEST_HEADER: Final = 100_000_000


@dataclass(frozen=True)
class TensorInfo:
    """Data type as safetensors names it (`F32`, `BF16`, ...) and shape of a stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Tensor name -> info of one `.safetensors` file; InputError when it is not one."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= _LONGEST_HEADER:
                raise ValueError("its first 8 bytes are no header length")
            entries = json.loads(file.read(length))
            size = file.seek(0, 2)
        infos = parse_header(entries)
        whole = 8 + length + max((_end(entry) for entry in entries.values()), default=0)
        if size < whole:
            raise ValueError(f"it is cut off: {size} of {whole} bytes")
        return infos
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a readable safetensors file ({error}); copy or convert it again"
        ) from error


def _end(entry: Mapping[str, object]) -> int:
    """Where a tensor's bytes end, counted from the end of the header."""
    offsets = entry.get("data_offsets")
    return int(offsets[1]) if isinstance(offsets, list) else 0


def parse_header(entries: Mapping[str, Mapping[str, object]]) -> dict[str, TensorInfo]:
    """Tensor name -> info from a decoded header."""
    infos: dict[str, TensorInfo] = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        shape = entry["shape"]
        if not isinstance(shape, list):
            raise ValueError(f"tensor {name} has no shape")
        sizes = tuple(int(size) for size in shape)
        if any(size < 0 for size in sizes):
            raise ValueError(f"tensor {name} has the shape {list(sizes)}")
        infos[name] = TensorInfo(str(entry["dtype"]), sizes)
    return infos
