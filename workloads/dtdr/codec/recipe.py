"""What a codec does to a tensor, in names. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Transform = Literal["none", "hadamard", "dct", "hadamard+dct"]
"""Along the last axis, orthonormal: Walsh–Hadamard (padded with zeros to a power of two), DCT-II,
the second after the first, or nothing: plain weights."""
Quantiser = Literal["none", "row", "block", "minmax"]
"""8 bits a coefficient: symmetric per row, symmetric per 16 neighbours in a row, or affine between
the least and the largest of a block of rows; `none` keeps the number itself."""

BLOCK = 16
"""Neighbours that share a scale with the quantiser `block`."""


@dataclass(frozen=True)
class Recipe:
    """Transform and quantiser. `block_rows`: rows that are one unit of truncation (and share least
    and largest with the quantiser `minmax`)."""

    transform: Transform = "hadamard"
    quantiser: Quantiser = "row"
    block_rows: int = 128
