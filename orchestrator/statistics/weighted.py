"""From scores by coalition to figures with intervals, on plain arrays.

A figure is a weight vector over coalitions, so it has a value by example: the weighted sum of that
example's scores. Replicates (seeds, or models) and examples are then those of an arm's mean
(`orchestrator.statistics.contrasts`): the whole set of coalitions of a replicate makes one value,
and t runs over the replicates. Two things are added.

**Few changed examples.** Right or wrong answers that seldom change make a t interval too short: at
two expected changes, one sample in seven has none and a width of 0. Agresti and Min (2005,
Statistics in Medicine 24) add pseudo-observations to paired proportions; here the cluster variance
counts z^2 / 2 more clusters as extreme as the most extreme one of any replicate (two at 95 %), as
Agresti and Coull (1998) do for one proportion. With many changes that is nothing.

Changes that go one way are skewed, and t then misses on the side of the long tail: that end is
moved out by Johnson's correction (1978, Journal of the American Statistical Association 73), (2 z^2
+ 1) / 6 times the sum of cubed influences over that of squares; for counts of changed answers that
is 1.4 answers at 95 %. The other end, which the correction would move inwards, stays: with few
changes nothing tells that none go the other way. docs/verdicts.md says how this was simulated.

**Sampled coalitions.** The variance from their choice is that of the sampler
(`telemetry.counterfactual.sampling`: from its regression and from its independent draws), for the
means over the replicates, which share their coalitions. The three variances (replicates, clusters,
coalitions) are added, their t quantiles averaged by variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics import Estimate, Moments

    Floats = NDArray[np.float64]

ROUNDING = 1e-6
"""Of the largest mean: figures that vary by less are equal. Scores of points have single precision,
and sums of equal numbers differ by the order they are taken in."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """What one replicate's scores come to.

    Attributes:
        values: [coalitions] mean over the examples.
        figures: [figures, examples]; [figures, 1] where there are means only.
        unchanged: [factors] whether switching it changed no score at all; False if no two
            coalitions differ in it alone.
    """

    values: Floats
    figures: Floats
    unchanged: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Figures with their ends, each [figures]; NaN where an end cannot be estimated.

    `still`: nothing varied, over examples, replicates or choices of coalitions; `value` is then
    exactly 0 if it is 0 but for rounding.
    """

    value: Floats
    low: Floats
    high: Floats
    still: NDArray[np.bool_]


def reduce_scores(
    scores: Floats,
    coalitions: NDArray[np.bool_],
    weights: Floats,
) -> Reduced:
    """One replicate's scores, reduced.

    Args:
        scores: [coalitions, examples] finite; [coalitions, 1] where there are means only.
        coalitions: [coalitions, factors] what is on.
        weights: [figures, coalitions].

    Raises:
        ValueError: a score that is NaN or infinite: no figure follows from an incomplete table.
    """
    import numpy as np

    table = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(table).all():
        raise ValueError("scores hold NaN or infinity: no figure follows from an incomplete table")
    values = table.mean(axis=1)
    return Reduced(
        values=values,
        figures=np.asarray(weights, dtype=np.float64) @ table,
        unchanged=unchanged_factors(table, coalitions),
    )


def unchanged_factors(table: Floats, coalitions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[factors]: whether every two coalitions that differ in it alone have equal scores."""
    import numpy as np

    rows = {tuple(row): i for i, row in enumerate(np.asarray(coalitions, dtype=bool).tolist())}
    found = []
    for factor in range(coalitions.shape[1]):
        pairs = [
            (i, rows[other])
            for row, i in rows.items()
            if row[factor] and (other := (*row[:factor], False, *row[factor + 1 :])) in rows
        ]
        equal = (np.array_equal(table[i], table[j]) for i, j in pairs)
        found.append(bool(pairs) and all(equal))
    return np.array(found, dtype=bool)


def intervals(
    replicates: Sequence[Reduced],
    clusters: NDArray[np.intp] | None,
    families: Sequence[int],
    confidence: float,
    *,
    one_model: bool = False,
    sampling_se: Floats | None = None,
    sampling_df: float = float("inf"),
    plain: int = 0,
) -> Intervals:
    """Every figure with its interval over replicates, examples and choices of coalitions.

    Args:
        replicates: one by seed or model, at least one.
        clusters: [examples] cluster of each, numbered from 0; None where there are means only.
        families: [figures] over how many figures the ends are simultaneous (Bonferroni).
        one_model: the interval speaks of the single model that is given, not of others like it.
        sampling_se: [figures] standard error from the choice of coalitions, with `sampling_df`
            degrees of freedom; None where all were measured.
        plain: the last so many are no differences but means: their intervals are those that a
            report gives the mean of an arm, without what is added for few changed examples.
    """
    import numpy as np

    sizes = np.asarray(families)
    figures = np.stack([one.figures for one in replicates], axis=1)
    arm = _moments(figures, clusters, one_model)
    extreme = _extreme(figures, clusters, arm)
    changes = np.arange(len(sizes)) < len(sizes) - plain
    half = np.empty(len(sizes))
    skew = np.empty(len(sizes))
    sampling = np.zeros(len(sizes)) if sampling_se is None else np.asarray(sampling_se) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        for size in np.unique(sizes):
            at, tail = sizes == size, (1.0 - confidence) / (2 * int(size))
            estimate = _cautious(arm, np.where(changes, extreme, 0.0), tail)
            half[at] = _half_widths(estimate, sampling, sampling_df, confidence, int(size))[at]
            skew[at] = np.where(changes, _skew(arm, tail), 0.0)[at]
    rounding = ROUNDING * max(1.0, *(float(np.abs(one.values).max()) for one in replicates))
    still = np.asarray(np.ptp(figures, axis=(1, 2)) <= rounding) & (sampling <= rounding**2)
    still &= figures[0].size > 1  # a single number tells nothing of how much it varies
    value = np.where(still & (np.abs(arm.mean) <= rounding), 0.0, arm.mean)
    return Intervals(
        value=value,
        low=value - half + np.minimum(skew, 0.0),
        high=value + half + np.maximum(skew, 0.0),
        still=still,
    )


def _moments(figures: Floats, clusters: NDArray[np.intp] | None, one_model: bool) -> Moments:
    """Of figures [figures, replicates, examples]."""
    import numpy as np

    from orchestrator.statistics import moments, moments_of_means

    arm = (
        moments_of_means(figures.mean(axis=-1)) if clusters is None else moments(figures, clusters)
    )
    if not one_model:
        return arm
    nothing = np.zeros_like(arm.mean)
    if clusters is None:  # one mean of one model: no interval can speak of it
        return replace(arm, seed_variance=nothing * np.nan)
    return replace(arm, seed_variance=nothing, residual_variance=nothing)


def _extreme(figures: Floats, clusters: NDArray[np.intp] | None, arm: Moments) -> Floats:
    """[figures]: the largest influence that a cluster has in any one replicate."""
    import numpy as np

    from orchestrator.statistics import moments

    largest = np.zeros(len(figures))
    if clusters is None:
        return largest
    if figures.shape[1] == 1 and arm.influence is not None:
        return np.asarray(np.abs(arm.influence).max(axis=-1))
    for replicate in range(figures.shape[1]):
        influence = moments(figures[:, [replicate]], clusters).influence
        if influence is not None:
            largest = np.maximum(largest, np.abs(influence).max(axis=-1))
    return largest


def _cautious(arm: Moments, extreme: Floats, tail: float) -> Estimate:
    """The mean of each figure, its cluster variance widened for ends that leave `tail` outside."""
    import numpy as np

    from orchestrator.statistics import mean
    from orchestrator.statistics.quantiles import t_upper

    estimate = mean(arm)
    if arm.influence is None:
        return estimate
    more = t_upper(tail, np.inf) ** 2 / 2 * extreme**2
    return replace(estimate, paired=estimate.paired + more, excess=estimate.excess + more)


def _skew(arm: Moments, tail: float) -> Floats:
    """[figures]: how far Johnson's correction for skewness moves an end."""
    import numpy as np

    from orchestrator.statistics.quantiles import t_upper

    if arm.influence is None:
        return np.zeros_like(arm.mean)
    by_square = arm.influence * arm.influence
    squares, cubes = by_square.sum(axis=-1), (by_square * arm.influence).sum(axis=-1)
    along = np.divide(cubes, squares, out=np.zeros_like(squares), where=squares > 0)
    return np.asarray((2 * t_upper(tail, np.inf) ** 2 + 1) / 6 * along)


def _half_widths(
    estimate: Estimate, sampling: Floats, df: float, confidence: float, family: int
) -> Floats:
    """That of replicates and examples, joined with that of the choice by Cochran and Cox's mean."""
    import numpy as np

    from orchestrator.statistics.quantiles import t_upper

    tail = (1.0 - confidence) / (2 * family)
    alone = np.asarray(estimate.half_width(confidence, family))
    # what bounds the width from below (question sampling alone) is kept as it is
    spread = np.maximum(estimate.variance, np.where(alone == 0, 0, estimate.paired))
    by_choice = t_upper(tail, df)
    total = spread + sampling
    own = np.where(spread > 0, alone / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
    critical = (spread * own + sampling * by_choice) / np.where(total > 0, total, 1.0)
    joined = critical * np.sqrt(total)
    return np.asarray(np.where(sampling == 0.0, alone, joined))
