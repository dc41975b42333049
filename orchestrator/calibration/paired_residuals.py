"""What real paired differences leave beside their mean: resampled, their true mean is 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.endpoint_family import Compared, Family
    from orchestrator.calibration.layout import Layout, Measured

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Paired differences [seeds, units] less each seed's mean.

    Attributes:
        clusters: [units] of the columns, numbered from 0.
        seed_sd: of the seeds' means; NaN of one seed. `text_sd`: of a text, over seeds.
    """

    values: Floats
    clusters: NDArray[np.intp]
    seed_sd: float
    text_sd: float

    def draw(self, studies: int, seeds: int, seed_sd: float, rng: np.random.Generator) -> Floats:
        """[studies, seeds, units]: a real seed's residuals for each seed, and for each cluster
        those of a real cluster of as many units, so that what is expected is 0; seeds have a
        normal effect beside, `seed_sd` standard errors of the mean over texts."""
        import numpy as np

        columns = self._columns(studies, rng)
        rows = rng.integers(len(self.values), size=(studies, seeds, 1))
        effects = rng.standard_normal((studies, seeds, 1)) * seed_sd * self._error()
        return np.asarray(self.values[rows, columns[:, None, :]] + effects)

    def _columns(self, studies: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """[studies, units] real units in the place of each."""
        import numpy as np

        members = [np.flatnonzero(self.clusters == c) for c in range(int(self.clusters.max()) + 1)]
        columns = np.empty((studies, self.clusters.size), dtype=np.intp)
        for size in {len(one) for one in members}:
            alike = np.array([one for one in members if len(one) == size])
            columns[:, alike] = alike[rng.integers(len(alike), size=(studies, len(alike)))]
        return columns

    def _error(self) -> float:
        """The standard error of the mean over texts."""
        from orchestrator.statistics import mean, moments

        over_texts = moments(self.values.mean(axis=0, keepdims=True), self.clusters)
        return math.sqrt(float(mean(over_texts).paired))


def residuals_of(family: Family, layout: Layout) -> dict[Compared, Residuals]:
    """Of those comparisons whose arms have finished trials and scores that differ."""
    found = {}
    for one in family.compared:
        residuals = None if one.over_seeds else _residuals(one, layout.measured[one.arm.column])
        if residuals is not None:
            found[one] = residuals
    return found


def _residuals(one: Compared, measured: Measured) -> Residuals | None:
    import numpy as np

    arm, against = (measured.scores.get(side.arm) for side in (one.arm, one.against))
    if arm is None or against is None:
        return None
    common = [seed for seed in arm.seeds if seed in against.seeds or one.against.fixed]
    if one.arm.fixed:
        common = list(against.seeds)
    pairs = [
        arm.values[0 if one.arm.fixed else arm.seeds.index(seed)]
        - against.values[0 if one.against.fixed else against.seeds.index(seed)]
        for seed in common
    ]
    if not pairs:
        return None
    differences = np.stack(pairs)
    whole = np.isfinite(differences).all(axis=0)
    differences, clusters = differences[:, whole], measured.clusters[whole]
    clusters = np.unique(clusters, return_inverse=True)[1].astype(np.intp)
    means = differences.mean(axis=1, keepdims=True) if differences.size else differences
    residuals = differences - means
    if not residuals.any() or clusters.max() < 1:
        return None
    return Residuals(
        values=residuals,
        clusters=clusters,
        seed_sd=float(means.std(ddof=1)) if len(means) > 1 else 0.0,
        text_sd=float(residuals.mean(axis=0).std(ddof=1)),
    )
