"""The tests that the source made, from samples or from the numbers it printed. Torch-free.

They are shown for comparison and answer nothing: they take samples of one prompt for independent,
correct for no number of tests, and take a missing significance for a missing effect. Beside each
stands one that does better on the first count: Welch's, or one over clusters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

SIGNIFICANT: Final = 0.05
"""At which the source called a test significant."""
Floats = npt.NDArray[np.float64]
Clustered = Mapping[str, Sequence[float]]
"""Cluster -> its values."""


@dataclass(frozen=True)
class Group:
    """What a t test or an analysis of variance needs of a sample: `sd` has the divisor n - 1."""

    mean: float
    sd: float
    n: int

    def __post_init__(self) -> None:
        if self.n < 2 or not self.sd >= 0:
            raise ValueError(f"a group has 2 or more values and an SD of 0 or more, got {self}")

    @classmethod
    def of(cls, values: Sequence[float]) -> Group:
        """The summary of a sample. Raises ValueError for fewer than two values."""
        if len(values) < 2:
            raise ValueError(f"a group has 2 or more values, got {len(values)}")
        # The mean of equal values may round, and they would seem to vary.
        sd = float(np.std(values, ddof=1)) if np.ptp(values) else 0.0
        return cls(float(np.mean(values)), sd, len(values))


@dataclass(frozen=True)
class Difference:
    """A difference of two means; `t`, `df`, `p` are None where nothing varies."""

    value: float
    low: float
    high: float
    t: float | None
    df: float | None
    p: float | None

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies within ±`margin`."""
        return -margin < self.low and self.high < margin


@dataclass(frozen=True)
class Variances:
    """An analysis of variance; `f` and `p` are None where nothing varies."""

    f: float | None
    df_between: float
    df_within: float
    p: float | None


@dataclass(frozen=True)
class Correlation:
    """Pearson's r with its interval; None where there are too few values."""

    r: float
    n: int
    p: float | None
    low: float | None
    high: float | None


def equal_variance_t(a: Group, b: Group, confidence: float = 0.95) -> Difference:
    """Student's test of `a` less `b`: one variance for both, as in the source."""
    df = a.n + b.n - 2
    pooled = ((a.n - 1) * a.sd**2 + (b.n - 1) * b.sd**2) / df
    return _difference(a.mean - b.mean, math.sqrt(pooled * (1 / a.n + 1 / b.n)), df, confidence)


def welch_t(a: Group, b: Group, confidence: float = 0.95) -> Difference:
    """Welch's test (1947) of `a` less `b`: a variance for each."""
    first, second = a.sd**2 / a.n, b.sd**2 / b.n
    variance = first + second
    below = first**2 / (a.n - 1) + second**2 / (b.n - 1)
    df = variance**2 / below if below else float(a.n + b.n - 2)
    return _difference(a.mean - b.mean, math.sqrt(variance), df, confidence)


def cluster_t(a: Clustered, b: Clustered, confidence: float = 0.95) -> Difference | None:
    """`a` less `b` by t over the clusters that both have, each cluster's difference of means being
    one value; None with fewer than two of them."""
    common = [name for name in a if name in b]
    if len(common) < 2:
        return None
    each = Group.of([float(np.mean(a[name]) - np.mean(b[name])) for name in common])
    return _difference(each.mean, each.sd / math.sqrt(each.n), each.n - 1, confidence)


def anova(groups: Sequence[Group]) -> Variances:
    """One-way analysis of variance, one variance for all groups. Raises ValueError below two."""
    between, within = _degrees(groups)
    total = sum(group.n for group in groups)
    grand = sum(group.n * group.mean for group in groups) / total
    explained = sum(group.n * (group.mean - grand) ** 2 for group in groups) / between
    rest = sum((group.n - 1) * group.sd**2 for group in groups) / within
    if rest == 0.0:
        return Variances(None, between, within, None)
    f = explained / rest
    return Variances(f, between, within, f_probability(f, between, within))


def welch_anova(groups: Sequence[Group]) -> Variances:
    """Welch's analysis of variance (1951), a variance for each group.

    Without figures where a group does not vary. Raises ValueError below two groups.
    """
    between, within = _degrees(groups)
    if any(group.sd == 0.0 for group in groups):
        return Variances(None, between, within, None)
    weights = np.array([group.n / group.sd**2 for group in groups])
    means = np.array([group.mean for group in groups])
    grand = float((weights * means).sum() / weights.sum())
    k = len(groups)
    shares = (1 - weights / weights.sum()) ** 2 / np.array([group.n - 1 for group in groups])
    spread = float(shares.sum())
    explained = float((weights * (means - grand) ** 2).sum()) / between
    f = explained / (1 + 2 * (k - 2) / (k**2 - 1) * spread)
    df = (k**2 - 1) / (3 * spread)
    return Variances(f, between, df, f_probability(f, between, df))


def cluster_anova(groups: Sequence[Clustered]) -> Variances | None:
    """Whether the means of groups differ, by Hotelling's T² over the clusters that all have.

    None where there are no more clusters than groups, or the differences do not vary.
    """
    common = [name for name in groups[0] if all(name in group for group in groups)]
    n, k = len(common), len(groups) - 1
    if k < 1 or n <= k + 1:
        return None
    means = np.array([[np.mean(group[name]) for group in groups] for name in common])
    differences = means[:, 1:] - means[:, :1]
    covariance = np.atleast_2d(np.cov(differences, rowvar=False))
    if np.linalg.matrix_rank(covariance) < k:
        return None
    middle = differences.mean(axis=0)
    squared = n * float(middle @ np.linalg.solve(covariance, middle))
    f = squared * (n - k) / ((n - 1) * k)
    return Variances(f, k, n - k, f_probability(f, k, n - k))


def f_probability(f: float, df_between: float, df_within: float) -> float:
    """How often F is at least this large where nothing differs: of a printed F."""
    return float(stats.f.sf(f, df_between, df_within))


def t_probability(t: float, df: float) -> float:
    """How often |t| is at least this large where nothing differs: of a printed t."""
    return 2 * float(stats.t.sf(abs(t), df))


def correlation(r: float, n: int, confidence: float = 0.95) -> Correlation:
    """Of a printed r over `n` pairs: p by t with n - 2 degrees of freedom, interval by Fisher's z.

    Raises ValueError for an r outside [-1, 1], or fewer than two pairs.
    """
    if not -1 <= r <= 1 or n < 2:
        raise ValueError(f"r lies in [-1, 1] and n is 2 or more, got r={r}, n={n}")
    if n < 3:
        return Correlation(r, n, None, None, None)
    if abs(r) == 1.0:
        return Correlation(r, n, 0.0, r, r)
    p = t_probability(r * math.sqrt((n - 2) / (1 - r * r)), n - 2)
    if n < 4:
        return Correlation(r, n, p, None, None)
    half = float(stats.norm.ppf((1 + confidence) / 2)) / math.sqrt(n - 3)
    middle = math.atanh(r)
    return Correlation(r, n, p, math.tanh(middle - half), math.tanh(middle + half))


def correlation_of(
    x: Sequence[float], y: Sequence[float], confidence: float = 0.95
) -> Correlation | None:
    """Pearson's r of pairs; None with fewer than two, or where one side does not vary."""
    r = _pearson(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    return None if r is None else correlation(r, len(x), confidence)


def cluster_correlation(
    x: Sequence[float], y: Sequence[float], clusters: Sequence[str], confidence: float = 0.95
) -> Correlation | None:
    """Pearson's r with p and interval from the jackknife of Fisher's z over clusters.

    None with fewer than three clusters, or where r is not known without one of them.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    names = np.asarray(clusters)
    kinds = list(dict.fromkeys(clusters))
    whole = _pearson(first, second)
    left = [_pearson(first[names != kind], second[names != kind]) for kind in kinds]
    if whole is None or len(kinds) < 3:
        return None
    if abs(whole) >= 1.0 or any(r is None or abs(r) >= 1.0 for r in left):
        return None
    z, n = math.atanh(whole), len(kinds)
    each = np.array([math.atanh(r) for r in left if r is not None])
    error = math.sqrt((n - 1) / n * float(((each - each.mean()) ** 2).sum()))
    if error == 0.0:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p = t_probability(z / error, n - 1)
    return Correlation(whole, len(x), p, math.tanh(z - half), math.tanh(z + half))


def significant(probabilities: Sequence[float | None]) -> int:
    """How many of the tests the source would have called significant."""
    return sum(p is not None and p < SIGNIFICANT for p in probabilities)


def comparison_verdict(probabilities: Sequence[float | None]) -> str:
    """The source's rule for oscillators against none: two of four tests, one, or none."""
    found = significant(probabilities)
    said = {0: "no difference", 1: "weak difference"}.get(found, "difference")
    return f"{said} ({found} of {len(probabilities)} significant)"


def intervention_verdict(probabilities: Sequence[float | None]) -> str:
    """The source's two words for its intervention. That one significant test of those is enough
    for the first is our reading."""
    return "R_is_causal" if significant(probabilities) else "R_is_disconnected"


def _difference(value: float, error: float, df: float, confidence: float) -> Difference:
    if error == 0.0:
        return Difference(value, value, value, None, None, None)
    half = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    t = value / error
    return Difference(value, value - half, value + half, t, df, t_probability(t, df))


def _degrees(groups: Sequence[Group]) -> tuple[int, int]:
    if len(groups) < 2:
        raise ValueError(f"an analysis of variance takes 2 or more groups, got {len(groups)}")
    return len(groups) - 1, sum(group.n for group in groups) - len(groups)


def _pearson(x: Floats, y: Floats) -> float | None:
    if len(x) != len(y):
        raise ValueError(f"pairs have two sides of one length, got {len(x)} and {len(y)}")
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1.0, 1.0))
