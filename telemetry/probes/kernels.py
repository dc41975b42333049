"""The two loops of a Gram window that are compiled: its products, and its way to singular values.

Numba compiles them when they are first asked for, and keeps what it compiled in a folder of its
own, so that later processes load it. They add up in an order that is theirs, and the same at every
call: the same window gives the same bits.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

Rows = NDArray[np.float32]
Values = NDArray[np.float64]

# Sums may be taken in lanes. Nothing is assumed of NaN and infinity: they come out as they are.
_ARITHMETIC = {"reassoc", "contract", "nsz"}


_EPS = float(np.finfo(np.float64).eps)
_MOST_ROUNDS = 60
"""Rounds for one eigenvalue on average: two are usual, and a finite matrix is known to need few."""


@dataclass(frozen=True)
class Kernels:
    """The compiled loops."""

    take_in: Callable[[Rows, Values, int], float]
    """(rows [W, dim], gram [W, W], slot): the slot's row multiplied by all rows, into its row and
    column of the Gram matrix. Gives its product with itself."""
    singular_values: Callable[[Values, Values, Values], bool]
    """(gram [W, W], room [W + 3, W], values [W]): the square roots of the eigenvalues of a finite
    Gram matrix, the largest first; 0 for those that rounding hides. Gives whether it came to an
    end."""


@functools.cache
def kernels() -> Kernels:
    """Both loops, compiled for this machine: loaded, or compiled where no copy can be loaded."""
    try:
        return _compiled(cache=True)
    except Exception as error:
        # No folder that can be written, a full disk, a broken copy: compiling needs none of them,
        # and what is wrong with the loops themselves is raised again here.
        _log.warning("each process compiles the loops of monitors anew (seconds): %s", error)
        return _compiled(cache=False)


def _compiled(*, cache: bool) -> Kernels:
    import numba

    def compiled(signature: str, loop: Callable[..., Any]) -> Callable[..., Any]:
        decorate = numba.njit(
            signature, cache=cache, nogil=True, error_model="numpy", fastmath=_ARITHMETIC
        )
        ready: Callable[..., Any] = decorate(loop)
        return ready

    return Kernels(
        compiled("float64(float32[:,::1], float64[:,::1], int64)", _take_in),
        compiled("boolean(float64[:,::1], float64[:,::1], float64[::1])", _singular_values),
    )


def _take_in(rows: Rows, gram: Values, slot: int) -> float:
    newest = rows[slot]
    window, dim = rows.shape
    fours = window - window % 4
    # Four rows at a time, so that the newest is read and widened once for the four.
    for i in range(0, fours, 4):
        a = b = c = d = 0.0
        for j in range(dim):
            x = np.float64(newest[j])
            a += np.float64(rows[i, j]) * x
            b += np.float64(rows[i + 1, j]) * x
            c += np.float64(rows[i + 2, j]) * x
            d += np.float64(rows[i + 3, j]) * x
        gram[slot, i], gram[slot, i + 1], gram[slot, i + 2], gram[slot, i + 3] = a, b, c, d
    for i in range(fours, window):
        a = 0.0
        for j in range(dim):
            a += np.float64(rows[i, j]) * np.float64(newest[j])
        gram[slot, i] = a
    for i in range(window):
        gram[i, slot] = gram[slot, i]
    return gram[slot, slot]  # type: ignore[no-any-return]


def _singular_values(gram: Values, room: Values, values: Values) -> bool:
    n = len(gram)
    a, beside = room[:n], room[n + 2]
    for i in range(n):
        for j in range(n):
            a[i, j] = gram[i, j]
    # First a tridiagonal matrix of the same eigenvalues, by Householder's reflections: Golub and
    # Van Loan, "Matrix Computations", 8.3.1. All of the matrix is kept up to date, not half of it:
    # long loops are worth more at these sizes. Its diagonal, `values`, is filled from the end, and
    # `beside` with the squares of what is next to it, so that the largest come last.
    for k in range(n - 1):
        values[n - 1 - k] = a[k, k]
        m = n - 1 - k
        # Memory of their own: loops over rows of what they change would not run in lanes.
        v, p = room[n, :m], room[n + 1, :m]
        for j in range(m):
            v[j] = a[k, k + 1 + j]
        head, tail = v[0], 0.0
        for j in range(1, m):
            tail += v[j] * v[j]
        beside[m - 1] = head * head + tail
        if tail == 0.0:
            continue
        length = -np.sign(head) * np.sqrt(beside[m - 1]) if head else np.sqrt(tail)
        tau, scale = (length - head) / length, 1 / (head - length)
        for j in range(m):
            v[j] *= scale
        v[0] = 1.0
        along = 0.0
        for i in range(m):
            row = a[k + 1 + i, k + 1 :]
            product = 0.0
            for j in range(m):
                product += row[j] * v[j]
            p[i] = tau * product
            along += p[i] * v[i]
        along *= tau / 2
        for j in range(m):
            p[j] -= along * v[j]
        for i in range(m):
            row = a[k + 1 + i, k + 1 :]
            vi, pi = v[i], p[i]
            for j in range(m):
                row[j] -= vi * p[j] + pi * v[j]
    values[0] = a[n - 1, n - 1]

    # Then its eigenvalues by the QL iteration of Pal, Walker and Kahan, which takes no roots, as
    # LAPACK's dsterf does. What is beside the diagonal is 0 once it is below the rounding of the
    # largest, below which no eigenvalue of a Gram matrix can be told anyway.
    largest = 0.0
    for i in range(n):
        largest = max(largest, values[i])
    nothing = (_EPS * largest) ** 2
    start = rounds = 0
    while start < n:
        end = start
        while end < n - 1 and beside[end] > nothing:
            end += 1
        if end == start:
            start += 1
            continue
        rounds += 1
        if rounds > _MOST_ROUNDS * n:
            return False
        root = np.sqrt(beside[start])
        half = (values[start + 1] - values[start]) / (2 * root)
        far = np.sqrt(half * half + 1)
        shift = values[start] - root / (half + (far if half >= 0 else -far))
        c, s = 1.0, 0.0
        gamma = values[end] - shift
        p2 = gamma * gamma
        for i in range(end - 1, start - 1, -1):
            b = beside[i]
            r = p2 + b
            if i < end - 1:
                beside[i + 1] = s * r
            before_c, before = c, gamma
            c, s = p2 / r, b / r
            gamma = c * (values[i] - shift) - s * before
            values[i + 1] = before + (values[i] - gamma)
            p2 = gamma * gamma / c if c else before_c * b
        beside[start] = s * p2
        values[start] = shift + gamma

    for i in range(1, n):
        one, j = values[i], i
        while j > 0 and values[j - 1] < one:
            values[j] = values[j - 1]
            j -= 1
        values[j] = one
    unresolved = 4 * n * _EPS * values[0]
    for i in range(n):
        values[i] = np.sqrt(values[i]) if values[i] > unresolved else 0.0
    return True
