"""The tensors of a pickled encoding, checked one by one before any number of them is read.

The format: a dict from parameter names to entries. An entry is a dict with `type` and `data`.
`uncompressed`: `data` is an array. `compressed_blockwise`: `data` is a dict of `data` (integer
arrays, one per block of rows), `metadata` (for each block: least, largest, shape, and more)
and `bits`. A block is code / (2^bits − 1) · (largest − least) + least, and the blocks are stacked
over rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.dtdr.pickles.machine import CutOff, DataMachine
from workloads.dtdr.pickles.stand_ins import NotData, PickledArray
from workloads.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHOLE: Final = "uncompressed"
BLOCKWISE: Final = "compressed_blockwise"
MOST_BITS: Final = 8


@dataclass(frozen=True)
class PickledBlock:
    """Rows that share their least and largest value. `codes` has `rows` × `columns` numbers."""

    codes: PickledArray
    low: float
    high: float
    rows: int
    columns: int


@dataclass(frozen=True)
class PickledTensor:
    """One entry of a file. Either `whole`, or `blocks` of codes of `bits` bits.

    The arrays are views of the file; `values` and `codes` read them.
    """

    file: Path
    name: str
    whole: PickledArray | None
    blocks: tuple[PickledBlock, ...] = ()
    bits: int = MOST_BITS

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a whole tensor its shape, of one in blocks [rows, columns]."""
        if self.whole is not None:
            return self.whole.final_shape
        return sum(block.rows for block in self.blocks), self.blocks[0].columns

    @property
    def block_rows(self) -> int:
        """Rows of every block but the last, which may have fewer."""
        return self.blocks[0].rows

    def values(self) -> NDArray[Any]:
        """The numbers of a whole tensor. Raises `InputError` where some are not finite."""
        import numpy as np

        assert self.whole is not None
        values = self.whole.array()
        bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        if bad:
            raise self.refused(f"{bad} of {values.size} numbers are NaN or infinite")
        return values

    def codes(self) -> NDArray[np.uint8]:
        """The codes of a tensor in blocks, uint8 [rows, columns].

        Raises `InputError` for a code outside 0 … 2^bits − 1.
        """
        import numpy as np

        codes = np.empty(self.shape, np.uint8)
        start = 0
        for number, block in enumerate(self.blocks):
            given = block.codes.array()
            if given.size and not 0 <= int(given.min()) <= int(given.max()) < 1 << self.bits:
                raise self.refused(
                    f"block {number} has codes from {given.min()} to {given.max()}; valid with "
                    f"{self.bits} bits: 0 to {(1 << self.bits) - 1}"
                )
            codes[start : start + block.rows] = given.reshape(block.rows, block.columns)
            start += block.rows
        return codes

    def refused(self, why: str) -> InputError:
        """An error that names file and tensor."""
        return InputError(f"{self.file}: tensor {self.name}: {why}")


def read_pickle(path: Path) -> dict[str, PickledTensor]:
    """The tensors of a file in that format, by name. Runs nothing that the file asks for.

    Raises `InputError`, naming the tensor, for a file that is cut off, holds anything but plain
    data and numpy arrays, or has an entry that is not of the format.
    """
    tensors: dict[str, PickledTensor] = {}
    for name, entry in _entries(path).items():
        try:
            tensors[name] = _tensor(path, name, entry)
        except NotData as error:
            raise InputError(f"{path}: tensor {name}: {error}") from error
    return tensors


def _entries(path: Path) -> dict[str, Any]:
    data = _bytes_of(path)
    machine = DataMachine(data)
    try:
        found = machine.run()
    except CutOff as error:
        raise InputError(
            f"{path} is cut off: it ends at byte {len(data)}{_place(machine)}; copy it again"
        ) from error
    except NotData as error:
        raise InputError(f"{path} is refused{_place(machine)}: it holds {error}") from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no readable pickle: at byte {machine.position}{_place(machine)} {error}; "
            "copy it again"
        ) from error
    if machine.position != len(data):
        raise InputError(
            f"{path} has {len(data) - machine.position} bytes after its end; valid: one pickled "
            "dict and nothing else"
        )
    if not isinstance(found, dict) or not found:
        raise InputError(
            f"{path} holds no tensors but a {type(found).__name__}; valid: a dict from parameter "
            "names to entries"
        )
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong:
        raise InputError(f"{path} has the key {wrong[0]!r}; valid: names of parameters")
    return found


def _place(machine: DataMachine) -> str:
    within = machine.within()
    return f", in tensor {within}" if within else ""


def _bytes_of(path: Path) -> Any:
    """The file's bytes, mapped and not read; InputError where that cannot be."""
    from mmap import ACCESS_READ, mmap

    try:
        with path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    except ValueError as error:
        raise InputError(f"{path} is empty; copy it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _tensor(path: Path, name: str, entry: Any) -> PickledTensor:
    if not isinstance(entry, dict) or "type" not in entry or "data" not in entry:
        raise NotData("an entry without type and data")
    kind, data = entry["type"], entry["data"]
    if kind == WHOLE:
        return PickledTensor(path, name, _filled(data, "its data"))
    if kind == BLOCKWISE:
        return _blockwise(path, name, data)
    raise NotData(f"its entry is of type {_shown(kind)}; valid: {WHOLE}, {BLOCKWISE}")


def _blockwise(path: Path, name: str, data: Any) -> PickledTensor:
    given = data if isinstance(data, dict) else {}
    missing = [key for key in ("data", "metadata", "bits") if key not in given]
    if missing:
        raise NotData(f"its data lack {', '.join(missing)}")
    bits, codes, metadata = given["bits"], given["data"], given["metadata"]
    if type(bits) is not int or not 1 <= bits <= MOST_BITS:
        raise NotData(f"it has {_shown(bits)} bits a code; valid: 1 to {MOST_BITS}")
    if not isinstance(codes, list | tuple) or not isinstance(metadata, list | tuple):
        raise NotData("its blocks are no lists")
    if not codes or len(codes) != len(metadata):
        raise NotData(f"it has {len(codes)} blocks and the metadata of {len(metadata)}")
    blocks = tuple(
        _block(number, array, each)
        for number, (array, each) in enumerate(zip(codes, metadata, strict=True))
    )
    for number, block in enumerate(blocks):
        if block.columns != blocks[0].columns:
            raise NotData(
                f"block {number} has {block.columns} columns, block 0 has {blocks[0].columns}"
            )
        last = number == len(blocks) - 1
        if block.rows > blocks[0].rows or (block.rows < blocks[0].rows and not last):
            raise NotData(
                f"block {number} has {block.rows} rows, block 0 has {blocks[0].rows}; valid: as "
                "many in each but the last"
            )
    return PickledTensor(path, name, None, blocks, bits)


def _block(number: int, codes: Any, metadata: Any) -> PickledBlock:
    array = _filled(codes, f"block {number}")
    assert array.type is not None
    if array.type.code[0] not in "iu":
        raise NotData(f"block {number} has codes of dtype {array.type.code}; valid: integers")
    if not isinstance(metadata, list | tuple) or len(metadata) < 3:
        raise NotData(f"the metadata of block {number} are not (least, largest, shape)")
    low, high, shape = (_number(part) for part in metadata[:3])
    for word, value in (("least", low), ("largest", high)):
        if type(value) not in (int, float) or not math.isfinite(_as_float(value)):
            raise NotData(f"the {word} value of block {number} is {_shown(value)}, not a number")
    if _as_float(low) > _as_float(high):
        raise NotData(f"block {number} ranges from {low} down to {high}")
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(shape, list | tuple) or not all(type(n) is int and n > 0 for n in shape):
        raise NotData(f"the shape of block {number} is no tuple of sizes")
    if not shape or math.prod(shape) != math.prod(array.shape):
        raise NotData(
            f"block {number} has {math.prod(array.shape)} codes and the shape {tuple(shape)}"
        )
    return PickledBlock(array, _as_float(low), _as_float(high), math.prod(shape[:-1]), shape[-1])


def _filled(data: Any, what: str) -> PickledArray:
    if not isinstance(data, PickledArray) or data.type is None:
        raise NotData(f"{what} is a {type(data).__name__}, not a numpy array")
    return data


def _number(given: Any) -> Any:
    """The number in an array of one; anything else as it is."""
    single = isinstance(given, PickledArray) and given.type is not None and not given.shape
    return given.array().item() if single else given


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _shown(value: Any) -> str:
    """A value in an error: scalars as they are, the rest by their type."""
    plain = isinstance(value, str | int | float) and len(f"{value}") <= 60
    return repr(value) if plain else f"a {type(value).__name__}"
