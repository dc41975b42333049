"""How well a signal tells the runs of an arm from healthy ones, over all thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def corners(ill: Floats, healthy: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shares of healthy runs [runs] and of ill ones [runs] above a threshold that falls from above
    all of them to below: the corners of the staircase, from (0, 0) to (1, 1).

    Where both share a value the line between two corners slants. Empty without runs of both.
    """
    import numpy as np

    if not len(ill) or not len(healthy):
        return (), ()
    values = np.unique(np.concatenate([ill, healthy]))[::-1]
    points = [(0.0, 0.0)]
    for false, detected in zip(_reached(healthy, values), _reached(ill, values), strict=True):
        points.append((float(false), float(detected)))
    kept = [one for i, one in enumerate(points) if not _between(points, i)]
    return tuple(x for x, _ in kept), tuple(y for _, y in kept)


def _reached(values: Floats, thresholds: Floats) -> Floats:
    """The share of values at or above each threshold."""
    import numpy as np

    below = np.searchsorted(np.sort(values), thresholds, side="left")
    return np.asarray(1.0 - below / len(values))


def _between(points: list[tuple[float, float]], i: int) -> bool:
    """Whether a point lies on an upright or level line of its neighbours."""
    if not 0 < i < len(points) - 1:
        return False
    around = points[i - 1 : i + 2]
    return any(len({point[axis] for point in around}) == 1 for axis in (0, 1))
