"""How varied a text is, from its token ids. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

REPETITION_WINDOW: Final = 32
"""Tokens that are looked back on, as in the source."""
_STILL: Final = 1e-6
"""A standard deviation of R below this is rounding: R does not vary."""


def distinct(tokens: Sequence[int], n: int) -> float | None:
    """Different runs of n tokens over all of them; None for a text of fewer than n tokens.

    >>> distinct([1, 2, 1, 2], 1), distinct([1, 2, 1, 2], 2)
    (0.5, 0.6666666666666666)
    """
    runs = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None


def repetition(tokens: Sequence[int], window: int = REPETITION_WINDOW) -> float | None:
    """Share of tokens that are among the `window` tokens before them; None for no tokens.

    >>> repetition([1, 2, 1, 3])
    0.25
    """
    if not tokens:
        return None
    seen = sum(token in tokens[max(0, at - window) : at] for at, token in enumerate(tokens))
    return seen / len(tokens)


def lag_one(values: Sequence[float]) -> float | None:
    """Correlation of a series with itself one step later, about its own mean; None for fewer than
    3 values, and for values that do not vary."""
    series = np.asarray(values, dtype=np.float64)
    if len(series) < 3 or series.std() < _STILL:
        return None
    off = series - series.mean()
    return float(off[1:] @ off[:-1] / (off @ off))


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's; None for fewer than 3 pairs, and where one of the two does not vary."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(a) < 3 or a.std() < _STILL or b.std() < _STILL:
        return None
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def agreement(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens until two texts part; the length of the shorter one where they never do.

    >>> agreement([1, 2, 3], [1, 2, 4]), agreement([1, 2], [1, 2])
    (2, 2)
    """
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
