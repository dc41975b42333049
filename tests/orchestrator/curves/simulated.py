"""Studies with known curves: every example rises where it likes, and the truth is their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.statistics.crossing import crossing
from orchestrator.statistics.isotonic import isotonic
from orchestrator.statistics.widths import Rise, width

Floats = NDArray[np.float64]
GRID = np.array(
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]
)


@dataclass(frozen=True)
class Shape:
    """A logistic rise in `GRID`, of which every example and every cluster has its own place.

    Attributes:
        center, scale: of the rise.
        spread: standard deviation over examples of the place, in scales; `shared` of its variance
            is that of their cluster.
        items: a score is the share of so many that are right, at random; 0: the chance itself.
        bump: added to the chance at 0.4: the true curve then goes down after it.
    """

    center: float = 0.7
    scale: float = 0.05
    spread: float = 0.5
    shared: float = 0.5
    items: int = 10
    bump: float = 0.0

    def chance(self, place: Floats) -> Floats:
        """[values, ...] of places [...]; the last value is whole."""
        along = GRID.reshape(-1, *(1,) * place.ndim)
        chance = special.expit((along - self.center) / self.scale + self.spread * place)
        chance[6] = np.minimum(1.0, chance[6] + self.bump)
        chance[-1] = 1.0
        return np.asarray(chance)

    def means(self) -> Floats:
        """[values] the true means, by quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        return np.asarray(self.chance(nodes) @ weights / weights.sum())

    def threshold(self, level: float = 0.5) -> float:
        return float(crossing(GRID, isotonic(self.means()), level))

    def width(self) -> float:
        return float(width(GRID, self.means(), 0.1, 0.9))

    def draw(self, clusters: NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """[values, examples] of one study."""
        common = rng.standard_normal(int(clusters.max()) + 1)[clusters]
        own = rng.standard_normal(len(clusters))
        place = np.sqrt(self.shared) * common + np.sqrt(1.0 - self.shared) * own
        chance = self.chance(place)
        return rng.binomial(self.items, chance) / self.items if self.items else chance

    def rise(self, clusters: NDArray[np.intp], rng: np.random.Generator) -> Rise:
        return Rise(GRID, self.draw(clusters, rng))


def grouped(clusters: int, unequal: bool = False) -> NDArray[np.intp]:
    """[examples] clusters of two examples; `unequal`: of one, two and three."""
    sizes = [1 + i % 3 if unequal else 2 for i in range(clusters)]
    return np.repeat(np.arange(clusters), sizes)


def inside(low: Any, truth: float, high: Any) -> bool:
    return bool(low <= truth + 1e-9 and truth - 1e-9 <= high)
