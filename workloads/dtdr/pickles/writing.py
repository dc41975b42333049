"""Writes pickled encodings in the format that `reading` reads."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.dtdr.pickles.reading import BLOCKWISE, WHOLE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_pickle(
    path: Path,
    tensors: Mapping[str, NDArray[Any]],
    block_rows: int = 128,
    bits: int = 8,
    protocol: int = pickle.DEFAULT_PROTOCOL,
) -> None:
    """Writes tensors: two-dimensional ones of floats in blocks of rows, all others whole."""
    entries = {
        name: blockwise_entry(tensor, block_rows, bits)
        if tensor.ndim == 2 and tensor.dtype.kind == "f" and tensor.size
        else {"type": WHOLE, "data": tensor}
        for name, tensor in tensors.items()
    }
    with path.open("wb") as file:
        pickle.dump(entries, file, protocol=protocol)


def blockwise_entry(tensor: NDArray[Any], block_rows: int, bits: int = 8) -> dict[str, Any]:
    """The entry of a tensor [rows, columns]: codes between least and largest of each block."""
    import numpy as np

    levels = (1 << bits) - 1
    codes, metadata = [], []
    for start in range(0, len(tensor), block_rows):
        block = tensor[start : start + block_rows].astype(np.float32)
        low, high = block.min(), block.max()
        span = high - low if high > low else np.float32(1)
        codes.append(np.rint((block - low) / span * levels).astype(np.uint8))
        metadata.append((low, high, block.shape))
    return {"type": BLOCKWISE, "data": {"data": codes, "metadata": metadata, "bits": bits}}
