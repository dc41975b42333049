"""Intervals over examples and draws: of means, and of where the curve of the means crosses a level.

Everything is conditional on the model: the interval speaks of other examples like these, and of
other draws where several were made. Examples of a cluster (a text) go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.statistics.crossing import crossing
from orchestrator.statistics.isotonic import isotonic, pooled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BETWEEN = 12
"""Places between two values at which a band is worked out."""


def mean_ends(
    figures: Floats,
    clusters: NDArray[np.intp],
    confidence: float,
    family: int = 1,
    draws: Sequence[Floats] = (),
) -> tuple[Floats, Floats]:
    """Lower and upper ends [figures] of the means of figures by example [figures, examples].

    As removal costs of one model: t over the clusters, widened where few examples make the
    difference, and simultaneous over `family` (see `orchestrator.statistics.weighted`). NaN from a
    single cluster. `draws`: parts [draws, figures] of the means by random draw, which come on top
    (`orchestrator.statistics.draws`).
    """
    import numpy as np

    from orchestrator.statistics.draws import draw_half
    from orchestrator.statistics.weighted import Reduced, intervals

    one = Reduced(figures.mean(axis=1), figures, np.zeros(0, dtype=bool))
    found = intervals([one], clusters, [family] * len(figures), confidence, one_model=True)
    half = draw_half(draws, (1.0 - confidence) / (2 * family))
    mean = figures.mean(axis=1)
    return mean - np.hypot(mean - found.low, half), mean + np.hypot(found.high - mean, half)


def unanimous_half_width(spread: float, clusters: int, confidence: float, family: int = 1) -> float:
    """Half an interval where every cluster says the same: others may differ by up to `spread`.

    With no exception in n clusters at most 1 - tail**(1/n) of all are exceptions (Clopper and
    Pearson 1934, Biometrika 26).
    """
    tail = (1.0 - confidence) / (2 * family)
    return float(spread * (1.0 - tail ** (1.0 / clusters)))


@dataclass(frozen=True, eq=False)
class Band:
    """Intervals of a curve's mean all along it, each [places], and its fit [values].

    `sides` are (low, high) of the curve as it was measured and, where that falls anywhere, of the
    one whose falling parts are pooled. None with too few clusters for intervals.
    """

    values: Floats
    fit: Floats
    places: Floats
    sides: tuple[tuple[Floats, Floats], ...] | None

    def crossing(self, level: float) -> float:
        """Where the fit first reaches a level; as `orchestrator.statistics.crossing`."""
        return float(crossing(self.values, self.fit, level))

    def crossing_ends(self, level: float) -> tuple[float, float]:
        """Ends of the interval of the first crossing of a level.

        They enclose the places at which the curve may well be at the level: the interval of its
        mean there holds it. Where the true curve never falls that covers as the intervals of the
        means do, flat parts included. Where it falls, the fit is the mean of a block of values, so
        that the same is asked of the pooled curve, and the wider end is taken. ``-inf``: it may be
        crossed before the first value; ``inf``: perhaps it never is.
        """
        import numpy as np

        if self.sides is None:
            return (-np.inf, np.inf)
        found = self.crossing(level)
        lows, highs = [found], [found]
        for low, high in self.sides:
            lows.append(float(crossing(self.places, np.maximum.accumulate(high), level)))
            rest = np.minimum.accumulate(low[::-1])[::-1]
            highs.append(float(crossing(self.places, rest, level)))
        return min(lows), max(highs)


def band(
    values: Floats,
    scores: Floats,
    clusters: NDArray[np.intp],
    confidence: float,
    draws: Floats | None = None,
) -> Band:
    """Of a rising curve [values, examples]; `values` ascend. `draws` [draws, values]: its means."""
    import numpy as np

    means = scores.mean(axis=1)
    blocks = pooled(means)
    sizes = np.bincount(blocks)
    # what is done to an example's curve is done to a draw's
    by_draw = np.zeros((len(values), 0)) if draws is None else draws.T
    curves = [np.concatenate([scores, by_draw], axis=1)]
    if (sizes > 1).any():
        smooth = np.zeros((len(sizes), curves[0].shape[1]))
        np.add.at(smooth, blocks, curves[0])
        curves.append((smooth / sizes[:, None])[blocks])
    places = _places(values)
    sides = []
    for one in curves:
        examples, drawn = np.split(_along(values, one, places), [scores.shape[1]], axis=1)
        sides.append(mean_ends(examples, clusters, confidence, draws=[drawn.T]))
    known = not any(np.isnan(end).any() for side in sides for end in side)
    return Band(values, isotonic(means), places, tuple(sides) if known else None)


def _places(values: Floats) -> Floats:
    import numpy as np

    shares = np.arange(BETWEEN) / BETWEEN
    inner = values[:-1, None] + shares * np.diff(values)[:, None]
    return np.concatenate([inner.ravel(), values[-1:]])


def _along(values: Floats, curve: Floats, places: Floats) -> Floats:
    """[places, examples]: every example's curve, joined by straight lines."""
    import numpy as np

    after = np.clip(np.searchsorted(values, places), 1, len(values) - 1)
    share = ((places - values[after - 1]) / (values[after] - values[after - 1]))[:, None]
    return np.asarray((1.0 - share) * curve[after - 1] + share * curve[after])
