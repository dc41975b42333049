"""Stored tensors that are not what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.dtdr.files.checksums import damaged_blocks, tensor_checksum
from workloads.dtdr.files.index import INDEX
from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.dtdr.files.index import TensorEntry

_LISTED = 6


class DamagedTensorError(InputError):
    """A stored tensor is not what was written: `name`, and the numbers of its damaged `blocks`."""

    def __init__(self, message: str, name: str, blocks: tuple[int, ...]) -> None:
        super().__init__(message)
        self.name, self.blocks = name, blocks


def refuse_damaged(folder: Path, tensor: EncodedTensor, entry: TensorEntry) -> None:
    """Raises `DamagedTensorError` if the tensor is not what its checksum says."""
    if tensor_checksum(tensor.parts) == entry.sha256:
        return
    blocks = damaged_blocks(tensor, entry.crc32)
    files = ", ".join(sorted({place.file for place in entry.parts.values()}))
    if not blocks:
        raise DamagedTensorError(
            f"tensor {tensor.name} in {files} of {folder} has the checksums of its blocks and not "
            f"its own, so {folder / INDEX} was changed; copy the folder again",
            tensor.name,
            blocks,
        )
    where = (
        "it is stored as it is"
        if tensor.plain
        else f"{len(blocks)} of its {tensor.blocks} blocks of rows: {listed(blocks)}"
    )
    raise DamagedTensorError(
        f"tensor {tensor.name} in {files} of {folder} is damaged ({where}); copy the folder again, "
        "or decode it with --damaged fill (damaged blocks count as missing) or keep (as they are)",
        tensor.name,
        blocks,
    )


def listed(blocks: tuple[int, ...]) -> str:
    """The first numbers, and how many more there are."""
    more = f" and {len(blocks) - _LISTED} more" if len(blocks) > _LISTED else ""
    return ", ".join(map(str, blocks[:_LISTED])) + more
