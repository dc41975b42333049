"""Curves with known means: what a calibration of curves draws its studies from.

A curve is a logistic rise along the places of its values among all values of its key, 0 to 1. Every
example rises where it likes, and so does every random draw; a score is in part the chance itself
and in part 0 or 1. Examples are paired: part of where one rises is the same in all curves. A curve
without random draws has examples that lie apart by as much more, so that curves of one law have the
same means whatever their draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TENTHS = 4.394449154672439
"""How many scales lie between a tenth and nine tenths of a logistic rise."""


@dataclass(frozen=True)
class Shape:
    """How examples and draws of a rise lie apart.

    Attributes:
        center: where it is half up, of the places 0 to 1.
        rise: the part of all places from a tenth to nine tenths, of one example.
        spread: standard deviation over examples of where they rise, in scales of one rise.
        alike: the part of its variance that an example has in all curves of a study.
        shared: the part of its variance that the examples of a cluster share.
        whole_part: how much of a score is 0 or 1 at random, and not the chance itself.
        scatter: standard deviation over random draws of where they rise, in scales.
    """

    center: float = 0.55
    rise: float = 0.35
    spread: float = 1.0
    alike: float = 0.5
    shared: float = 0.5
    whole_part: float = 0.3
    scatter: float = 0.3


@dataclass(frozen=True)
class Track:
    """One curve of a study as it is drawn.

    Attributes:
        name: `ARM/PATH`.
        values: along its key.
        places: of its values, 0 to 1.
        whole: whether all is known at its last value, where every score is 1.
        draws: random draws; `random` [values]: where they differ.
        stretch: its rise is so much longer than that of the shape.
        floor, height: its means lie between `floor` and `floor + height`.
    """

    name: str
    values: tuple[float, ...]
    places: tuple[float, ...]
    whole: bool
    draws: int
    random: tuple[bool, ...]
    stretch: float = 1.0
    floor: float = 0.0
    height: float = 1.0

    @property
    def scatters(self) -> bool:
        """Whether several random draws of it differ."""
        return self.draws > 1 and any(self.random)

    def chance(self, shape: Shape, lies: Floats) -> Floats:
        """[..., values, examples] of where examples rise [..., examples], in scales."""
        import numpy as np
        from scipy import special

        scale = shape.rise * self.stretch / TENTHS
        along = (np.asarray(self.places) - shape.center) / scale
        steep = special.expit(along.astype(lies.dtype)[:, None] + lies[..., None, :])
        steep *= self.height
        steep += self.floor
        if self.whole:
            steep[..., -1, :] = 1.0
        return np.asarray(steep)

    def means(self, shape: Shape) -> Floats:
        """[values] the true means, by quadrature."""
        import numpy as np

        nodes, weights = _quadrature()
        found = self.chance(shape, nodes * np.hypot(shape.spread, shape.scatter))
        return np.asarray(found @ weights / weights.sum())

    def width(self, shape: Shape, low: float, high: float) -> float:
        """The true width, on straight lines between the values."""
        import numpy as np

        from orchestrator.statistics.widths import width

        return float(width(np.asarray(self.values), self.means(shape), low, high))

    def stretched(self, shape: Shape, target: float, low: float, high: float) -> Track:
        """With the stretch that makes its width the target, or as near to it as one comes."""
        from scipy import optimize

        def miss(stretch: float) -> float:
            return replace(self, stretch=stretch).width(shape, low, high) - target

        least, most = 0.02, 20.0
        if miss(least) >= 0:
            return replace(self, stretch=least)
        # beyond some stretch a curve leaves the grid at both ends and gets no wider
        while most > 2 * least and miss(most / 2) > 0:
            most /= 2
        if miss(most) <= 0:
            return replace(self, stretch=most)
        return replace(self, stretch=float(optimize.brentq(miss, least, most, xtol=1e-12)))


@cache
def _quadrature() -> tuple[Floats, Floats]:
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    return nodes, weights


@dataclass(frozen=True, eq=False)
class Drawn:
    """One curve of many studies: `scores` [studies, values, examples] over draws; `draws` [draws,
    studies, values] means by draw, a single row of a curve without."""

    scores: Floats
    draws: Floats


def draw_places(
    shape: Shape, clusters: NDArray[np.intp], studies: int, rng: np.random.Generator
) -> Floats:
    """[studies, examples] standard normal, those of a cluster alike in part."""
    import numpy as np

    count = int(clusters.max()) + 1
    own = rng.standard_normal((studies, len(clusters)), dtype=np.float32)
    if count == len(clusters) or not shape.shared:
        return np.asarray(own)
    common = rng.standard_normal((studies, count), dtype=np.float32)[:, clusters]
    return np.asarray(np.sqrt(shape.shared) * common + np.sqrt(1 - shape.shared) * own)


def draw_track(
    track: Track,
    shape: Shape,
    clusters: NDArray[np.intp],
    common: Floats,
    rng: np.random.Generator,
) -> Drawn:
    """One curve of studies whose examples lie at `common` [studies, examples] in all curves."""
    import numpy as np

    studies = len(common)
    own = draw_places(shape, clusters, studies, rng)
    lies = np.float32(np.sqrt(shape.alike)) * common + np.float32(np.sqrt(1 - shape.alike)) * own
    total = np.float32(np.hypot(shape.spread, shape.scatter))
    if track.scatters:
        by_draw = rng.standard_normal((track.draws, studies, 1), dtype=np.float32)
        chance = track.chance(
            shape, np.float32(shape.spread) * lies + np.float32(shape.scatter) * by_draw
        )
        steady = ~np.asarray(track.random)
        if steady.any():
            chance[..., steady, :] = track.chance(shape, total * lies)[..., steady, :]
    else:
        chance = track.chance(shape, total * lies)[None]
    right = rng.random(chance.shape, dtype=np.float32) < chance
    scores = (1 - shape.whole_part) * chance + np.float32(shape.whole_part) * right
    if track.scatters and steady.any():
        scores[..., steady, :] = scores[:1][..., steady, :]
    mean = scores.mean(axis=0) if track.scatters else scores[0]
    return Drawn(mean, scores.mean(axis=-1, dtype=np.float64))
