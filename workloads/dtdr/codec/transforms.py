"""A transform by its name: rows to coefficients and back."""

from __future__ import annotations

import torch

from workloads.dtdr.codec.cosine import dct2, idct2
from workloads.dtdr.codec.hadamard import walsh_hadamard_
from workloads.dtdr.codec.recipe import Transform


def padded_length(n: int, transform: Transform) -> int:
    """Coefficients that a row of `n` numbers becomes: with Walsh–Hadamard the next power of two."""
    return 1 << (n - 1).bit_length() if _has_hadamard(transform) else n


def transformed(x: torch.Tensor, transform: Transform) -> torch.Tensor:
    """The coefficients [..., padded] of rows `x` [..., n], which are padded with zeros at the end.

    In float32, or float64 if `x` is that: coefficients keep more than bfloat16 would hold.
    """
    length = x.shape[-1]
    if _has_hadamard(transform):
        padded = x.new_zeros((*x.shape[:-1], padded_length(length, transform)), dtype=_exact(x))
        padded[..., :length] = x.detach()
        coefficients = walsh_hadamard_(padded)
    else:
        coefficients = x.detach().to(_exact(x))
    return dct2(coefficients) if _has_dct(transform) else coefficients


def restored(
    c: torch.Tensor, transform: Transform, length: int, in_place: bool = False
) -> torch.Tensor:
    """The rows [..., length] of coefficients `c` [..., padded], in the dtype `transformed` has.

    `in_place`: `c` may be overwritten, and what is given may lie in its memory. Raises `ValueError`
    if rows of that length have another number of coefficients.
    """
    if c.shape[-1] != padded_length(length, transform):
        raise ValueError(
            f"{length} numbers have {padded_length(length, transform)} coefficients with the "
            f"transform {transform}, not {c.shape[-1]}"
        )
    rows = c.detach().to(_exact(c))
    if _has_dct(transform):
        rows = idct2(rows)
    if _has_hadamard(transform):
        ours = in_place or _has_dct(transform)
        rows = rows.contiguous() if ours else rows.clone(memory_format=torch.contiguous_format)
        rows = walsh_hadamard_(rows)[..., :length]
    return rows


def _exact(x: torch.Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _has_hadamard(transform: Transform) -> bool:
    return transform in ("hadamard", "hadamard+dct")


def _has_dct(transform: Transform) -> bool:
    return transform in ("dct", "hadamard+dct")
