"""Widths of the rises of very many curves: the loop of a bootstrap, compiled.

What it gives is that of `orchestrator.statistics.crossing` on `orchestrator.statistics.isotonic`,
with crossings outside the grid moved to its end, in a hundredth of the time: neighbours that fall
are pooled one by one (Barlow, Bartholomew, Bremner and Brunk 1972, Statistical Inference under
Order Restrictions, section 1.2), and nothing is kept but the two places.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Means = NDArray[np.floating[Any]]
Loop = Callable[[Floats, Means, float, float, Floats], None]

_log = logging.getLogger(__name__)


def rise_widths(values: Floats, means: Means, low: float, high: float) -> Floats:
    """[curves] the distance from where the isotonic fit of each of `means` [curves, values] first
    is at `low` to where it is at `high`; `values` ascend. Both arrays are contiguous, the means of
    single or double precision."""
    if means.shape[1] < 2:
        raise ValueError(f"a rise takes two values at least, got {means.shape[1]}")
    found = np.empty(len(means))
    _loop()(values, means, float(low), float(high), found)
    return found


@cache
def _loop() -> Loop:
    """The loop: loaded, or compiled where no copy can be loaded."""
    try:
        return _compiled(cache=True)
    except Exception as error:
        # No folder that can be written, a full disk, a broken copy: compiling needs none of them,
        # and what is wrong with the loop itself is raised again here.
        _log.warning("each process compiles the widths of curves anew (seconds): %s", error)
        return _compiled(cache=False)


def _compiled(*, cache: bool) -> Loop:
    import numba

    kinds = [
        f"void(float64[::1], {of}[:, ::1], float64, float64, float64[::1])"
        for of in ("float64", "float32")
    ]
    loop: Loop = numba.njit(kinds, cache=cache, nogil=True, error_model="numpy")(_widths)
    return loop


def _widths(values: Floats, means: Means, low: float, high: float, found: Floats) -> None:
    curves, count = means.shape
    height = np.empty(count)
    size = np.empty(count, dtype=np.int64)
    for curve in range(curves):
        blocks = 0
        for at in range(count):
            height[blocks], size[blocks] = means[curve, at], 1
            blocks += 1
            while blocks > 1 and height[blocks - 2] > height[blocks - 1]:
                one, other = size[blocks - 2], size[blocks - 1]
                total = one * height[blocks - 2] + other * height[blocks - 1]
                size[blocks - 2] = one + other
                height[blocks - 2] = total / (one + other)
                blocks -= 1
        distance = 0.0
        for which in range(2):
            level = high if which else low
            block, last = 0, -1  # `last`: the value at which the block before ends
            while block < blocks and height[block] < level:
                last += size[block]
                block += 1
            if block == 0:
                place = values[0]
            elif block == blocks:
                place = values[count - 1]
            else:
                share = (level - height[block - 1]) / (height[block] - height[block - 1])
                place = values[last] + share * (values[last + 1] - values[last])
            distance += place if which else -place
        found[curve] = distance
