"""What can be watched, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

Monitor = Literal[
    "svd_ratio",
    "rank",
    "effective_rank",
    "implied_cosine",
    "layer_delta",
    "activation_energy",
    "entropy",
    "margin",
]
WINDOWED = ("svd_ratio", "rank", "effective_rank", "implied_cosine")
"""Monitors of the singular values of a window of rows; the others are of one step alone."""
PREDICTION = ("entropy", "margin")
"""Monitors of the logits."""


def known_monitors(monitors: Sequence[str]) -> tuple[str, ...]:
    """The names once each, in order; one name may stand alone.

    Raises ValueError for a name that is none, and for none at all; TypeError for what are no names.
    """
    valid = get_args(Monitor)
    if not isinstance(monitors, Iterable):
        raise TypeError(
            f"monitors is {monitors!r}, a {type(monitors).__name__}; give names of monitors, of "
            f"which there are {', '.join(valid)}"
        )
    names = (monitors,) if isinstance(monitors, str) else tuple(monitors)
    for name in names:
        if name not in valid:
            near = difflib.get_close_matches(str(name), valid, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"'{name}' is no monitor{hint}; there are {', '.join(valid)}")
    if not names:
        raise ValueError(f"no monitor is named; there are {', '.join(valid)}")
    return tuple(dict.fromkeys(names))
