"""What one arm's scores contribute to any comparison.

Model of a score, for arm a, seed s and question q of cluster c (a story, an article)::

    y[a,s,q] = mean[a] + seed[a,s] + question[q] + persistent[a,q] + residual[a,s,q]

``question`` (how hard a question is) is shared by all arms and cancels in any paired contrast.
``persistent`` is what an arm does to a question whatever the seed, ``residual`` what one seed of
one arm does to it; both may be correlated within a cluster.

Everything a contrast needs is a function of the cluster totals, so scores are reduced to them once:

* ``seed_variance``: variance over seeds of the seed means. Expectation: ``var(seed) + E``, where
  ``E`` is the variance of the mean residual of a single seed over the sampled clusters.
* ``residual_variance``: an estimate of ``E`` alone, from the seed x cluster interaction.
* ``influence``: per cluster, how far it pulls the arm's mean from the cluster-size weighted mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """The moments of one arm, in the units of the score; ``...`` are batch dimensions, often none.

    Attributes:
        seeds: number of seeds, at least 1.
        clusters: number of clusters, or None where there are no per-question scores.
        mean: ``[...]`` mean over seeds and questions.
        seed_variance: ``[...]`` variance of the seed means (n - 1); NaN for a single seed.
        residual_variance: ``[...]`` variance of a seed's mean residual over clusters; NaN for a
            single seed or a single cluster.
        cluster_df: degrees of freedom of a variance over the clusters: their number less one if
            they are of equal size, less if they are not. None without per-question scores.
        influence: ``[..., clusters]``; None without per-question scores.
    """

    seeds: int
    clusters: int | None
    cluster_df: float | Floats | None
    mean: Floats
    seed_variance: Floats
    residual_variance: Floats
    influence: Floats | None


def cluster_index(labels: Sequence[Hashable]) -> NDArray[np.intp]:
    """Number the clusters in order of first appearance: ``[questions]`` integers from 0."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.intp)


def moments(scores: ArrayLike, clusters: ArrayLike | None = None) -> Moments:
    """Reduce one arm's scores ``[..., seeds, questions]`` to its moments.

    Args:
        scores: finite scores; leave unmeasured questions out, in all arms alike, before calling.
        clusters: ``[questions]`` integer cluster of each question, numbered from 0 without gaps;
            None makes each question its own cluster.

    Raises:
        ValueError: no seed, no question, a non-finite score, or clusters of another length.

    With B[s,c] the total of cluster c over the number of questions Q, p[c] its share of questions
    and m[s] the seed's mean, ``influence[c] = h[c] * mean over s of (B[s,c] - p[c] m[s])``, where
    ``h[c] = (1 - 1/K) / (1 - p[c])``. The variance of a mean over K sampled clusters is then
    ``K/(K-1) * sum influence**2``: for equal clusters the usual one, for unequal ones the jackknife
    that leaves out one cluster at a time (CR3; MacKinnon, Nielsen and Webb 2023, Journal of
    Econometrics 232), since a plain sum is too small where a few clusters hold most questions.
    For the same reason the degrees of freedom go by the effective number of clusters,
    ``1 / sum p**2`` (Carter, Schnepel and Steigerwald 2017, Review of Economics and Statistics 99),
    which is K for equal ones.
    """
    y = np.asarray(scores, dtype=np.float64)
    if y.ndim < 2 or y.shape[-1] == 0 or y.shape[-2] == 0:
        raise ValueError(
            f"scores must be [..., seeds, questions] with at least one of each, got {y.shape}"
        )
    if not np.isfinite(y).all():
        raise ValueError("scores hold NaN or infinity: leave unmeasured questions out first")
    seeds, questions = y.shape[-2:]
    if clusters is None:
        totals, share = y / questions, np.full(questions, 1.0 / questions)
    else:
        index = np.asarray(clusters)
        if index.shape != (questions,):
            raise ValueError(f"{questions} questions but clusters of shape {index.shape}")
        totals, share = _cluster_totals(y, index)
    count = int(share.size)
    effective = 1.0 / float((share**2).sum())
    seed_means = totals.sum(axis=-1)
    pull = totals - share * seed_means[..., None]
    if count > 1:
        pull = pull * (1.0 - 1.0 / count) / (1.0 - share)
    influence = pull.mean(axis=-2)
    undefined = np.full(y.shape[:-2], np.nan)
    seed_variance = seed_means.var(axis=-1, ddof=1) if seeds > 1 else undefined
    residual = undefined
    if seeds > 1 and count > 1:
        squares = ((pull - influence[..., None, :]) ** 2).sum(axis=(-1, -2))
        residual = squares * count / (count - 1) / (seeds - 1)
    mean = seed_means.mean(axis=-1)
    return Moments(seeds, count, effective - 1.0, mean, seed_variance, residual, influence)


def moments_of_means(seed_means: ArrayLike) -> Moments:
    """Moments from seed means ``[..., seeds]`` alone: no cluster component can be estimated."""
    m = np.asarray(seed_means, dtype=np.float64)
    if m.ndim < 1 or m.shape[-1] == 0:
        raise ValueError(f"seed means must be [..., seeds] with at least one seed, got {m.shape}")
    if not np.isfinite(m).all():
        raise ValueError("seed means hold NaN or infinity: leave failed seeds out first")
    undefined = np.full(m.shape[:-1], np.nan)
    variance = m.var(axis=-1, ddof=1) if m.shape[-1] > 1 else undefined
    return Moments(m.shape[-1], None, None, m.mean(axis=-1), variance, undefined, None)


def negated(arm: Moments) -> Moments:
    """The moments of the scores with their sign turned, for a metric of which less is better."""
    influence = None if arm.influence is None else -arm.influence
    return replace(arm, mean=-arm.mean, influence=influence)


def _cluster_totals(y: Floats, index: NDArray[np.intp]) -> tuple[Floats, Floats]:
    questions = y.shape[-1]
    sizes = np.bincount(index)
    if (sizes == 0).any():
        raise ValueError("clusters must be numbered from 0 without gaps")
    if sizes.size == questions and (index == np.arange(questions)).all():
        return y / questions, sizes / questions
    order = np.argsort(index, kind="stable")
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    totals = np.add.reduceat(y[..., order], starts, axis=-1) / questions
    return totals, sizes / questions
