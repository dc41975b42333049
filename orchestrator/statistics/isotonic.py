"""The monotone curve that is nearest to measured means: isotonic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK = 256
"""Curves that are fitted at once: each takes the square of its values in memory."""


def isotonic(means: Floats) -> Floats:
    """Least squares fit that never falls, [..., values] of means [..., values], equal weights.

    By the min-max formula (Robertson, Wright and Dykstra 1988, Order Restricted Statistical
    Inference, theorem 1.4.4), which takes many curves at once: the fit at j is the largest over s
    <= j of the least over t >= j of the mean of values s to t.
    """
    import numpy as np

    curves = np.asarray(means, dtype=np.float64)
    flat = curves.reshape(-1, curves.shape[-1])
    parts = [_fitted(flat[i : i + BLOCK]) for i in range(0, len(flat), BLOCK)]
    return np.concatenate(parts).reshape(curves.shape) if parts else curves.copy()


def pooled(means: Floats) -> NDArray[np.intp]:
    """[values] the number of the block of each value of one curve [values]: those of a block share
    their fit, which is the mean of their means."""
    import numpy as np

    fit = isotonic(means)
    steps = np.diff(fit) > 1e-12 * max(1.0, float(np.abs(fit).max()))
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.intp)


def _fitted(curves: Floats) -> Floats:
    import numpy as np

    count = curves.shape[-1]
    sums = np.concatenate([np.zeros((len(curves), 1)), curves.cumsum(axis=-1)], axis=-1)
    first, last = np.arange(count)[:, None], np.arange(count)[None, :]
    length = np.where(last >= first, last - first + 1, 1)
    between = (sums[:, None, 1:] - sums[:, :-1, None]) / length
    between = np.where(last >= first, between, np.inf)
    # the least over t >= j: from the right; the largest over s <= j: from above, within s <= j
    least = np.minimum.accumulate(between[..., ::-1], axis=-1)[..., ::-1]
    least = np.where(first <= last, least, -np.inf)
    return np.asarray(least.max(axis=-2))
