"""The Walsh–Hadamard transform as two or three small matrix products.

H of 2^(a+b) is the Kronecker product of H of 2^a and H of 2^b. A row seen as a [2^a, 2^b] matrix is
therefore transformed by multiplying it with a small H from either side. With factors of at most 32
that reads and writes the rows once per factor, where a butterfly does so once per power of two.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from workloads.dtdr.codec.tiles import tile_rows, tiles

_LARGEST_FACTOR = 5
"""As a power of two. Larger ones save a pass and cost more in arithmetic."""


def walsh_hadamard(x: torch.Tensor) -> torch.Tensor:
    """The orthonormal transform along the last axis, in natural (Hadamard) order: its own inverse.

    Computed in float32, or float64 if `x` is that; given in the dtype of `x`. Autograd does not see
    it. Raises `ValueError` if the last axis is no power of two or `x` is not of a float dtype.
    """
    if not x.is_floating_point():
        raise ValueError(f"the transform takes floats, not {x.dtype}")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    source = x.detach()
    n = _checked_length(source)
    out = torch.empty(source.shape, dtype=dtype, device=x.device)
    _transform(source.reshape(-1, n), out.view(-1, n), in_place=False)
    return out.to(x.dtype)


def walsh_hadamard_(x: torch.Tensor) -> torch.Tensor:
    """The same in the memory of `x`, a contiguous tensor of float32 or float64, which it returns.

    Faster than `walsh_hadamard` by what fresh memory costs. Raises `ValueError` for another tensor.
    """
    if x.dtype not in (torch.float32, torch.float64) or not x.is_contiguous():
        raise ValueError(f"in place takes contiguous float32 or float64, not {x.dtype}")
    rows = x.detach().view(-1, _checked_length(x))
    _transform(rows, rows, in_place=True)
    return x


def passes(n: int) -> int:
    """How many times rows of `n` numbers, a power of two, are read and written."""
    return len(_factors(n))


def _checked_length(x: torch.Tensor) -> int:
    n = x.shape[-1] if x.dim() else 0
    if n < 1 or n & (n - 1):
        raise ValueError(f"the last axis must be a power of two, not of shape {tuple(x.shape)}")
    return n


def _transform(source: torch.Tensor, out: torch.Tensor, in_place: bool) -> None:
    """From rows [rows, n] of any float dtype into rows of the dtype that is computed in."""
    rows, n = source.shape
    factors = _factors(n)
    height = min(tile_rows(n, out.device), max(1, rows))
    spare = [torch.empty((height, n), dtype=out.dtype, device=out.device) for _ in range(2)]
    for tile in tiles(slice(0, rows), rows, height):
        target = out[tile]
        a, b = (buffer[: len(target)] for buffer in spare)
        current = source[tile].to(out.dtype).contiguous()
        after = 1  # elements between neighbours along the factor's axis
        for place, factor in enumerate(reversed(factors)):
            last = place == len(factors) - 1
            into = target if last and not (in_place and place == 0) else a
            _multiply(current, factor, after, into)
            current, a, b = into, b, a
            after *= factor
        if current is not target:
            target.copy_(current)


def _multiply(rows: torch.Tensor, factor: int, after: int, out: torch.Tensor) -> None:
    """Along one axis of `rows` seen as [everything before, factor, after]."""
    small = _small(factor, out.dtype, out.device)
    if after == 1:
        torch.mm(rows.view(-1, factor), small, out=out.view(-1, factor))
        return
    seen = rows.view(-1, factor, after)
    torch.bmm(small.expand(len(seen), -1, -1), seen, out=out.view(-1, factor, after))


def _factors(n: int) -> tuple[int, ...]:
    """Powers of two whose product is `n`, as equal as can be."""
    power = n.bit_length() - 1
    count = max(1, -(-power // _LARGEST_FACTOR))
    least, more = divmod(power, count)
    return tuple(1 << (least + (place < more)) for place in range(count))


@lru_cache(maxsize=64)
def _small(n: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The orthonormal H [n, n], by Sylvester's construction."""
    h = torch.ones((1, 1), dtype=torch.float64)
    while len(h) < n:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)], 0)
    return h.div_(n**0.5).to(device=device, dtype=dtype)
