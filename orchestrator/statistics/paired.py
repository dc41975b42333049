"""The mean of paired differences, with ends that hold where scores are skewed.

Differences of the same seed and the same unit are an arm of their own: its mean has the variance of
`orchestrator.statistics.contrasts` (the spread over seeds, and the clusters' component beyond it)
and Student's t. Figures such as a divergence are never below 0, and differ by factors over seeds
and texts: t then misses the truth above it, and would call too much "no effect". So an end can only
move out, on the side of the long tail, to the furthest of

* **clusters**: Hall's transformation of the t statistic (1992, Journal of the Royal Statistical
  Society B 54), g(T) = T + a T^2 / 3 + a^2 T^3 / 27 + a / 6, solved for the end; `a` is the
  third cumulant of the mean over the clusters in standard errors, with the unbiased third moment;
* **seeds**: Johnson's shift (1978, Journal of the American Statistical Association 73), a (1 + 2
  t^2) / 6, with that of the seed means. Of few seeds the skewness is hardly known, so that
* **sign**: where every seed's and every cluster's mean lies on one side of 0, the end away from 0
  goes half + half^2 / (2 mean) out, the interval of the logarithm to second order (with few seeds
  all of the exponential knows no bound), at a third of the tail.

By how much an end moves is added to the family's half. Hall's transformation is taken as far out as
the family's t over the clusters lies: found for one comparison alone, it lets large families of
skewed texts err more often than they may. The other two are found for one comparison, since neither
expansion means anything as far out as a large family's t over a few seeds lies.

docs/verdicts.md says how it was simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics import Estimate, Moments

    Floats = NDArray[np.float64]

SIGN_TAIL = 3
"""By what the tail is divided on the logarithmic scale: simulated, the same tail covered .92."""
NEARLY_STRAIGHT = 1e-6


@dataclass(frozen=True, eq=False)
class Interval:
    """Arrays [...] over the batch, often 0-d; ends are NaN where they cannot be estimated.

    Attributes:
        value: the mean difference.
        seed_sd: of the seed means; NaN of one seed.
        still: whether nothing varied at all, so that there is nothing to test.
    """

    value: Floats
    low: Floats
    high: Floats
    seed_sd: Floats
    still: NDArray[np.bool_]


def interval(
    differences: Floats,
    clusters: NDArray[np.intp] | None,
    confidence: float,
    family: int = 1,
    *,
    fixed: bool = False,
) -> Interval:
    """The mean of paired differences [..., seeds, units] with its simultaneous interval.

    Args:
        clusters: [units], numbered from 0; None: the units are no sample, and the interval is over
            seeds alone.
        family: over how many comparisons the ends are simultaneous (Bonferroni).
        fixed: the one seed stands for all: the interval is over the clusters alone.
    """
    import numpy as np

    from orchestrator.statistics import mean, moments, moments_of_means

    if clusters is None:
        arm = moments_of_means(differences.mean(axis=-1))
    else:
        arm = moments(differences, clusters)
    if fixed:
        nothing = np.zeros_like(arm.mean)
        unknown = nothing if clusters is not None else nothing * np.nan
        arm = replace(arm, seed_variance=unknown, residual_variance=nothing)
    estimate = mean(arm)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.asarray(estimate.half_width(confidence, family))
        below, above = _moved_out(estimate, arm, differences, clusters, confidence, family)
    return Interval(
        value=estimate.value,
        low=estimate.value - half - below,
        high=estimate.value + half + above,
        seed_sd=np.sqrt(arm.seed_variance),
        still=np.asarray(estimate.identical, dtype=bool),
    )


def _moved_out(
    estimate: Estimate,
    arm: Moments,
    differences: Floats,
    clusters: NDArray[np.intp] | None,
    confidence: float,
    family: int,
) -> tuple[Floats, Floats]:
    """By how much the lower and the upper end lie beyond those of t."""
    import numpy as np

    from orchestrator.statistics.quantiles import t_upper

    half = np.asarray(estimate.half_width(confidence))
    total = np.maximum(np.nan_to_num(estimate.variance), estimate.paired)
    error = np.sqrt(np.where(total > 0, total, 1.0))
    skewness = _cluster_cumulant(arm) / error**3
    out = half / error
    if estimate.cluster_df is not None:
        out = np.maximum(out, t_upper((1.0 - confidence) / (2 * family), estimate.cluster_df))
    hall = np.nan_to_num(_hall(np.abs(skewness), out) * error)
    times = float(t_upper((1.0 - confidence) / 2, arm.seeds - 1)) if arm.seeds > 1 else 0.0
    johnson = _seed_cumulant(arm, differences) / error**2 * (1 + 2 * times**2) / 6
    reach = np.asarray(estimate.half_width(1 - (1 - confidence) / SIGN_TAIL))
    size = np.abs(estimate.value)
    far = reach + reach**2 / (2 * np.where(size > 0, size, 1.0))
    beyond = np.maximum(0.0, np.nan_to_num(far - half))
    sign = _one_sign(differences, clusters) * np.sign(estimate.value)
    below = np.maximum(np.where(skewness < 0, hall, 0.0), -johnson)
    above = np.maximum(np.where(skewness > 0, hall, 0.0), johnson)
    return (
        np.maximum(np.maximum(0.0, below), np.where(sign < 0, beyond, 0.0)),
        np.maximum(np.maximum(0.0, above), np.where(sign > 0, beyond, 0.0)),
    )


def _hall(skewness: Floats, times: Floats) -> Floats:
    """How many standard errors the far end lies beyond t, which is `times`, by Hall's
    transformation; `skewness` is at least 0, and hardly above 1.

    That grows up to where the transformation has run through its flat part, twice as far out as
    that lies, and would shrink again beyond: there it stays."""
    import numpy as np

    a = np.maximum(skewness, NEARLY_STRAIGHT)
    reached = np.minimum(times, 2 / a - a / 6)
    return np.asarray(3 / a * (1 - np.cbrt(1 - a * (reached + a / 6))) - reached)


def _cluster_cumulant(arm: Moments) -> Floats:
    """The third cumulant of the mean over the clusters that were sampled."""
    import numpy as np

    if arm.influence is None or arm.clusters is None or arm.clusters < 3:
        return np.zeros_like(arm.mean)
    k = arm.clusters
    return np.asarray((arm.influence**3).sum(axis=-1) * k * k / ((k - 1) * (k - 2)))


def _seed_cumulant(arm: Moments, differences: Floats) -> Floats:
    """That of the mean over the seeds, from the skewness of the sample."""
    import numpy as np

    if arm.seeds < 3:
        return np.zeros_like(arm.mean)
    means = differences.mean(axis=-1)
    centred = means - means.mean(axis=-1, keepdims=True)
    spread = (centred**2).mean(axis=-1)
    skewness = (centred**3).mean(axis=-1) / np.where(spread > 0, spread, 1.0) ** 1.5
    return np.asarray(skewness * arm.seed_variance**1.5 / arm.seeds**2)


def _one_sign(differences: Floats, clusters: NDArray[np.intp] | None) -> NDArray[np.bool_]:
    """Whether every seed's mean, and every cluster's, lies on one side of 0."""
    import numpy as np

    means = differences.mean(axis=-1)
    same = np.asarray((means > 0).all(axis=-1) | (means < 0).all(axis=-1))
    if clusters is None:
        return same
    order = np.argsort(clusters, kind="stable")
    starts = np.searchsorted(clusters[order], np.arange(int(clusters.max()) + 1))
    totals = np.add.reduceat(differences.mean(axis=-2)[..., order], starts, axis=-1)
    return np.asarray(same & ((totals >= 0).all(axis=-1) | (totals <= 0).all(axis=-1)))
