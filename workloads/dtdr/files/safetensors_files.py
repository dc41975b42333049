"""Safetensors files written and read a tensor at a time, with no more than that in memory.

The format: 8 bytes little-endian length of the header, the header in JSON (it may end in blanks),
then the tensors' bytes. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from workloads.dtdr.files.checksums import raw_bytes
from workloads.errors import InputError
from workloads.models.safetensors_header import read_header

if TYPE_CHECKING:
    import torch

_MOST_AT_ONCE: Final = 1 << 28
_ENTRY_BYTES: Final = 160
"""More than an entry of the header takes beside the name, with five axes."""

DTYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
}
"""The format's names of number types -> torch's."""
_ITEM_BYTES: Final = {
    name: 1 if name == "BOOL" or "8" in name.split("_")[0] else int(name.lstrip("BFIU")) // 8
    for name in DTYPES
}
_NAMES: Final = {torch_name: name for name, torch_name in DTYPES.items()}


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes lie: from byte `begin` of the file named `file` on."""

    file: str
    begin: int
    dtype: str
    shape: tuple[int, ...]


def dtype_name(dtype: torch.dtype) -> str:
    """The format's name of a number type. Raises `InputError` for one that it has not."""
    name = _NAMES.get(str(dtype).removeprefix("torch."))
    if name is None:
        raise InputError(f"safetensors have no {dtype}; valid: {', '.join(_NAMES)}")
    return name


class Writer:
    """Writes one file, tensor after tensor, without knowing them before.

    `names` are of all tensors that may come: so much room is left for the header. Nothing that was
    added is kept in memory.
    """

    def __init__(self, path: Path, names: Collection[str]) -> None:
        self.path = path
        self._room = 64 + sum(len(json.dumps(name)) + _ENTRY_BYTES for name in names)
        self._room += -self._room % 8
        self._entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        self._file: IO[bytes] = path.open("wb")
        self._file.seek(8 + self._room)
        self._end = 0

    @property
    def data_bytes(self) -> int:
        """Bytes of tensors written so far."""
        return self._end

    def add(self, name: str, tensor: torch.Tensor) -> Place:
        """Appends a tensor; says where it lies. Raises `OSError` where the disk refuses."""
        data = raw_bytes(tensor)
        dtype, shape, begin = dtype_name(tensor.dtype), tuple(tensor.shape), self._end
        self._file.write(data)
        self._end += len(data)
        offsets = [begin, self._end]
        self._entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        return Place(self.path.name, 8 + self._room + begin, dtype, shape)

    def close(self) -> None:
        """Writes the header and has the disk take the file. Raises `OSError`."""
        header = json.dumps(self._entries, separators=(",", ":")).encode()
        assert len(header) <= self._room
        with self._file as file:
            file.seek(0)
            file.write(struct.pack("<Q", self._room) + header.ljust(self._room))
            file.flush()
            os.fsync(file.fileno())

    def abandon(self) -> None:
        """Closes the file as it is: it is going to be removed."""
        with contextlib.suppress(OSError):  # what is still in the buffer finds no room either
            self._file.close()


def read_tensor(folder: Path, place: Place) -> torch.Tensor:
    """A tensor in memory of its own (a file that is mapped would count as memory in use).

    Raises `InputError` where the file is gone or too short.
    """
    import torch

    dtype = getattr(torch, DTYPES[place.dtype])
    size = prod(place.shape) * dtype.itemsize
    if not size:
        return torch.empty(place.shape, dtype=dtype)
    data = torch.empty(size, dtype=torch.uint8)
    path = folder / place.file
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(place.begin)
            _fill(file, data.numpy().data)
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); copy it again") from error
    return data.view(dtype).reshape(place.shape)


def places(path: Path) -> dict[str, Place]:
    """Where the tensors of a file lie, in order of their bytes. Raises `InputError`."""
    infos = read_header(path)
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
    found: dict[str, Place] = {}
    free = 0  # bytes belong to one tensor each
    for name, begin, end in _in_order(path, header):
        info = infos[name]
        if info.dtype not in DTYPES:
            raise InputError(
                f"tensor {name} of {path} is of type {info.dtype}; valid: {', '.join(DTYPES)}"
            )
        place = Place(path.name, 8 + length + begin, info.dtype, info.shape)
        if end - begin != stored_bytes(place):
            raise InputError(
                f"tensor {name} of {path} has {end - begin} bytes, not "
                f"{stored_bytes(place)} as its shape says; copy the file again"
            )
        if begin < free:
            raise InputError(
                f"tensor {name} of {path} begins at byte {begin} of the tensors, which is not its "
                "own; copy the file again"
            )
        free = end
        found[name] = place
    return found


def _in_order(path: Path, header: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Names with where their bytes begin and end. Raises `InputError`."""
    try:
        spans = {
            name: tuple(map(int, entry["data_offsets"]))
            for name, entry in header.items()
            if name != "__metadata__"
        }
        return sorted(
            ((n, begin, end) for n, (begin, end) in spans.items()), key=lambda one: one[1:]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say where its tensors lie ({error}); copy it again"
        ) from error


def stored_bytes(place: Place) -> int:
    """How many bytes the tensor takes. Needs no torch."""
    return prod(place.shape) * _ITEM_BYTES[place.dtype]


def _fill(file: IO[bytes], view: memoryview) -> None:
    while view:
        count = file.readinto(view[:_MOST_AT_ONCE])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it is cut off")
        view = view[count:]
