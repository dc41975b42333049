"""Where a monotone curve crosses a level: straight lines between its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def crossing(values: Floats, fit: Floats, level: float) -> Floats:
    """[...] where a fit [..., values] that never falls first reaches a level; `values` ascend.

    ``-inf``: it begins at or above the level, so that it was crossed before the first value or
    there. ``inf``: it never reaches it.
    """
    import numpy as np

    curves = np.asarray(fit, dtype=np.float64)
    reached = curves >= level
    first = np.argmax(reached, axis=-1)
    after = np.maximum(first, 1)
    upper = np.take_along_axis(curves, after[..., None], axis=-1)[..., 0]
    lower = np.take_along_axis(curves, after[..., None] - 1, axis=-1)[..., 0]
    rise = np.where(upper > lower, upper - lower, 1.0)
    share = np.clip((level - lower) / rise, 0.0, 1.0)
    found = values[after - 1] + share * (values[after] - values[after - 1])
    found = np.where(first == 0, -np.inf, found)
    return np.asarray(np.where(reached.any(axis=-1), found, np.inf))


def within(values: Floats, places: Floats) -> Floats:
    """Crossings, those before or after all values moved to the first or the last of them."""
    import numpy as np

    return np.asarray(np.clip(places, values[0], values[-1]))


def width_range(values: Floats, fit: Floats, low: float, high: float) -> tuple[float, float]:
    """The least and the largest distance between two levels of any curve that never falls and has
    these values: all that the grid alone can tell of a width."""
    import numpy as np

    last = len(values) - 1
    first = [int(np.searchsorted(fit, level)) for level in (low, high)]
    (low_begin, low_end), (high_begin, high_end) = (
        (values[max(i - 1, 0)], values[min(i, last)]) for i in first
    )
    return max(0.0, float(high_begin - low_end)), float(high_end - low_begin)


def step_at(values: Floats, place: float) -> float:
    """The distance of the two values between which a place lies: what the grid can resolve there.
    At or beyond an end it is the outermost step."""
    import numpy as np

    after = int(np.clip(np.searchsorted(values, place), 1, len(values) - 1))
    return float(values[after] - values[after - 1])
