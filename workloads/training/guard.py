"""Tells training that still has numbers from training that has lost them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def is_finite(values: Mapping[str, float]) -> bool:
    """Whether every value is a finite number.

    >>> is_finite({"loss": 0.5}), is_finite({"loss": float("nan")})
    (True, False)
    """
    return all(math.isfinite(value) for value in values.values())
