"""What a window's singular values say of its shape: figures of how few directions it has.

All take singular values in any order and none of them depends on their scale. What can't be told
(no values, only zeros, a value that is not finite) is None.

The ratio depends on the window: W vectors at right angles give 1/W. `implied_cosine` and
`normalised_ratio` give it in a form that compares between windows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.floating] | Iterable[float]

RANK_TOLERANCE = 1e-6
"""Singular values above this share of the largest count towards the rank."""
_ROUNDING = 1e-6
"""How far outside of its range a ratio or a cosine may lie and is still taken for its end."""


def sv_ratio(values: Values) -> float | None:
    """The largest singular value by the sum of all: from 1/W (no direction stands out) to 1.

    >>> sv_ratio([1, 1, 1, 1]), sv_ratio([3, 0, 0]), sv_ratio([0, 0])
    (0.25, 1.0, None)
    """
    spectrum = _usable(values)
    return None if spectrum is None else 1 / sum(spectrum)


def numerical_rank(values: Values, rtol: float = RANK_TOLERANCE) -> int | None:
    """How many singular values are above `rtol` times the largest.

    >>> numerical_rank([100, 100 * 1e-3, 100 * 1e-8])
    2
    """
    spectrum = _usable(values)
    return None if spectrum is None else sum(value > rtol for value in spectrum)


def effective_rank(values: Values) -> float | None:
    """exp of the entropy (nats) of the singular values divided by their sum: from 1 to W.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007.

    >>> round(effective_rank([2, 2, 2, 0]), 6)
    3.0
    """
    spectrum = _usable(values)
    if spectrum is None:
        return None
    total = sum(spectrum)
    shares = [value / total for value in spectrum if value]
    return math.exp(-sum(share * math.log(share) for share in shares))


def ratio_of_cosine(cosine: float, window: int) -> float:
    """The ratio of `window` unit vectors of which each two have this cosine.

    Their Gram matrix has the eigenvalue 1 + (W-1)c once and 1 - c W-1 times. Raises ValueError
    for a cosine that no W vectors can all have: it lies from -1/(W-1) to 1.

    >>> round(ratio_of_cosine(0.75, 5), 3), ratio_of_cosine(1, 5)
    (0.5, 1.0)
    """
    _check_window(window)
    least = -1 / (window - 1)
    if not least - _ROUNDING <= cosine <= 1 + _ROUNDING:
        raise ValueError(
            f"the cosine is {cosine!r}; that of each two of {window} vectors lies from "
            f"{least:.6g} to 1"
        )
    once = math.sqrt(max(0.0, 1 + (window - 1) * cosine))
    others = math.sqrt(max(0.0, 1 - cosine))
    return max(once, others) / (once + (window - 1) * others)


def implied_cosine(ratio: float, window: int) -> float:
    """The mean pairwise cosine that the ratio implies, from 0 to 1: a form free of the window.

    It is the inverse of `ratio_of_cosine` for cosines from 0. Exact for vectors of one length
    and one angle; for others it is the cosine of such vectors with the same ratio. Raises
    ValueError for a ratio outside of 1/W to 1.

    >>> round(implied_cosine(0.8, 5), 3), round(implied_cosine(0.8, 10), 4)
    (0.981, 0.9923)
    """
    ratio = _checked_ratio(ratio, window)
    # once : others of `ratio_of_cosine` is ratio·(W-1) : (1 - ratio), solved for the cosine.
    once, others = (ratio * (window - 1)) ** 2, (1 - ratio) ** 2
    return max(0.0, (once - others) / (once + (window - 1) * others))


def normalised_ratio(ratio: float, window: int) -> float:
    """The ratio stretched to 0 (vectors at right angles) to 1 (one direction), for any window.

    Raises ValueError for a ratio outside of 1/W to 1.

    >>> normalised_ratio(0.1, 10), normalised_ratio(1, 10)
    (0.0, 1.0)
    """
    ratio = _checked_ratio(ratio, window)
    return (ratio - 1 / window) / (1 - 1 / window)


def _usable(values: Values) -> list[float] | None:
    """Singular values by the largest of them, if figures can be made of them.

    Plain floats: for the few values of a window they are faster than arrays. Raises ValueError
    where one is negative.
    """
    spectrum = values.tolist() if hasattr(values, "tolist") else [float(value) for value in values]
    if not all(map(math.isfinite, spectrum)):
        return None
    largest = max(spectrum, default=0.0)
    if spectrum and min(spectrum) < 0:
        raise ValueError(f"singular values are 0 or above; one is {min(spectrum):.6g}")
    return [value / largest for value in spectrum] if largest > 0 else None


def _checked_ratio(ratio: float, window: int) -> float:
    _check_window(window)
    if not 1 / window - _ROUNDING <= ratio <= 1 + _ROUNDING:
        raise ValueError(
            f"the ratio is {ratio!r}; that of {window} vectors lies from {1 / window:.6g} to 1"
        )
    return min(1.0, max(1 / window, ratio))


def _check_window(window: int) -> None:
    if window < 2:
        raise ValueError(f"the window is {window!r}; a ratio is of 2 vectors or more")
