"""The orthonormal DCT-II and its inverse, along the last axis.

Short rows are multiplied with the matrix. Longer ones take one real FFT of their own length:
J. Makhoul, "A fast cosine transform in one and two dimensions", IEEE Trans. ASSP 28 (1980).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from workloads.dtdr.codec.tiles import tile_rows, tiles

_BY_MATRIX = 256
"""Longest row for which the product with the matrix is the faster one."""


def dct2(x: torch.Tensor) -> torch.Tensor:
    """The orthonormal DCT-II of each row of `x` [..., n], as scipy.fft gives with norm "ortho".

    Computed in float32, or float64 if `x` is that; given in the dtype of `x`. Raises `ValueError`
    without a last axis or for a dtype that is not of floats.
    """
    return _by_tiles(x, inverse=False)


def idct2(c: torch.Tensor) -> torch.Tensor:
    """What `dct2` gives back as `c` [..., n]: the transform by the transposed matrix."""
    return _by_tiles(c, inverse=True)


def _by_tiles(x: torch.Tensor, inverse: bool) -> torch.Tensor:
    if not x.is_floating_point():
        raise ValueError(f"the transform takes floats, not {x.dtype}")
    if not x.dim() or not x.shape[-1]:
        raise ValueError(f"there is no last axis to transform in the shape {tuple(x.shape)}")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    n = x.shape[-1]
    source = x.detach().reshape(-1, n)
    out = torch.empty(source.shape, dtype=dtype, device=x.device)
    for tile in tiles(slice(0, len(source)), len(source), tile_rows(n, x.device)):
        given = source[tile].to(dtype)
        if n <= _BY_MATRIX:
            matrix = _matrix(n, dtype, x.device)
            torch.mm(given, matrix if inverse else matrix.T, out=out[tile])
        elif inverse:
            _inverse_by_fft(given, out[tile])
        else:
            _by_fft(given, out[tile])
    return out.view(x.shape).to(x.dtype)


def _by_fft(x: torch.Tensor, out: torch.Tensor) -> None:
    n = x.shape[-1]
    spectrum = torch.fft.rfft(x.index_select(-1, _order(n, x.device)))
    spectrum *= _twiddles(n, x.dtype, x.device)
    parts = torch.view_as_real(spectrum)
    half = n // 2 + 1
    out[:, :half] = parts[..., 0]
    out[:, half:] = parts[:, 1 : n - half + 1, 1].flip(-1).neg_()


def _inverse_by_fft(c: torch.Tensor, out: torch.Tensor) -> None:
    n = c.shape[-1]
    half = n // 2 + 1
    parts = torch.empty((len(c), half, 2), dtype=c.dtype, device=c.device)
    parts[..., 0] = c[:, :half]
    parts[:, 0, 1] = 0
    parts[:, 1 : n - half + 1, 1] = c[:, half:].flip(-1).neg_()
    if n % 2 == 0:
        parts[:, -1, 1] = -c[:, half - 1]
    spectrum = torch.view_as_complex(parts)
    spectrum /= _twiddles(n, c.dtype, c.device)
    out[:, _order(n, c.device)] = torch.fft.irfft(spectrum, n)


@lru_cache(maxsize=64)
def _order(n: int, device: torch.device) -> torch.Tensor:
    """Even places forwards, then odd places backwards."""
    even, odd = torch.arange(0, n, 2), torch.arange(1, n, 2)
    return torch.cat([even, odd.flip(0)]).to(device)


@lru_cache(maxsize=64)
def _twiddles(n: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """What makes the spectrum's real part the first half of the DCT [n // 2 + 1], norm included."""
    k = torch.arange(n // 2 + 1, dtype=torch.float64)
    size = torch.full_like(k, math.sqrt(2 / n))
    size[0] = math.sqrt(1 / n)
    turned = torch.polar(size, -math.pi * k / (2 * n))
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
    return turned.to(device=device, dtype=complex_dtype)


@lru_cache(maxsize=64)
def _matrix(n: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The orthonormal matrix [coefficient, place]."""
    places = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi / n * torch.outer(places, places + 0.5)) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix.to(device=device, dtype=dtype)
