"""Every figure as a weight vector over coalitions, so that it can be had per example and per seed.

A figure of a game f is a sum over coalitions of weight times f. With the scores of each example in
place of f, the same weights give the figure's value by example, and so its variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, factorial, sqrt
from typing import TYPE_CHECKING, Literal, get_args

from telemetry.counterfactual.coalitions import (
    Coalition,
    CoalitionError,
    as_array,
    check_factors,
    full,
    joined,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Kind = Literal["total", "shapley", "banzhaf", "removal_cost", "interaction", "sii", "stii"]
"""`total`: all on less all off. `shapley`: mean gain over all orderings; they sum to the total.
`banzhaf`: mean with the factor less mean without it, over the others' states (the source's
"marginal contribution"). `removal_cost`: all on less all but that one. `interaction`: of a pair
f(ij) - f(i) - f(j) + f(none), of a triple likewise: the others are off. `sii`, `stii`: Shapley and
Shapley-Taylor interaction index, over all states of the others; `stii` with the order of the set
as its top order."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_SINGLE: tuple[Kind, ...] = ("shapley", "banzhaf", "removal_cost")
_TOGETHER: tuple[Kind, ...] = ("interaction", "sii", "stii")
MOST_ORDER = 3
MOST_FACTORS_OF_TRIPLES = 12
"""With more factors, exact figures stop at pairs: the weights of all triples would be 1 GB."""


@dataclass(frozen=True, order=True)
class Figure:
    """One number that follows from a game: its kind, and the factors it is of (none: `total`)."""

    kind: Kind
    of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a metric: ``shapley/early``, ``sii/early+mid``, ``total``."""
        return f"{self.kind}/{joined(self.of)}" if self.of else self.kind

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures, and the weights that make them from the values of coalitions.

    Attributes:
        figures: in the order of the rows of `weights`.
        coalitions: in the order of its columns.
        weights: ``[figures, coalitions]``; a row sums to 0, so that a constant has no effect.
    """

    figures: tuple[Figure, ...]
    coalitions: tuple[Coalition, ...]
    weights: NDArray[np.float64]

    def of(self, values: ArrayLike) -> NDArray[np.float64]:
        """``[figures, …]`` from ``[coalitions, …]``: one value, or one by example, per coalition.

        Raises `ValueError` if the values are not as many as the coalitions. NaN is passed on only
        to figures in which it takes part. What rounding alone makes differ from 0 is 0.
        """
        import numpy as np

        given = np.asarray(values, dtype=np.float64)
        if given.shape[:1] != (len(self.coalitions),):
            raise ValueError(
                f"values of shape {given.shape} for {len(self.coalitions)} coalitions: the first "
                "axis is the coalition"
            )
        if np.isfinite(given).all():
            return _rounded(self.weights, given)
        return np.stack([_sum(row, given) for row in self.weights])

    def only(self, *kinds: Kind) -> Figures:
        """Those of some kinds."""
        rows = [i for i, figure in enumerate(self.figures) if figure.kind in kinds]
        return Figures(tuple(self.figures[i] for i in rows), self.coalitions, self.weights[rows])

    def row(self, figure: Figure) -> NDArray[np.float64]:
        """``[coalitions]``: one figure's weights. Raises `KeyError` if it is not among them."""
        if figure not in self.figures:
            raise KeyError(f"no figure {figure}; there are: {', '.join(map(str, self.figures))}")
        found: NDArray[np.float64] = self.weights[self.figures.index(figure)]
        return found

    def named(self, values: ArrayLike) -> dict[str, float]:
        """One value per coalition in, figures by name out."""
        return {
            figure.name: float(value)
            for figure, value in zip(self.figures, self.of(values), strict=True)
        }


def _sum(row: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sum over the coalitions of weight other than 0."""
    used = row != 0
    return _rounded(row[used], values[used])


def _rounded(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sums; one that is within its own rounding of 0 is 0, so that a factor that changes
    nothing is worth just that."""
    import numpy as np

    result = np.asarray(weights @ values)
    rounding = 4 * np.finfo(np.float64).eps * sqrt(max(1, values.shape[0]))
    return np.where(np.abs(result) <= rounding * (np.abs(weights) @ np.abs(values)), 0.0, result)


def exact_figures(factors: Sequence[str], order: int = MOST_ORDER) -> Figures:
    """All figures of a complete table, in binary order of coalitions (see `coalitions.full`).

    Interactions up to `order` (1: none), but to pairs at most for n beyond 12. Raises
    `CoalitionError` for n beyond 16, an order that is not 1 to 3, or names that make no sense.
    """
    check_factors(factors)
    if not 1 <= order <= MOST_ORDER:
        raise CoalitionError(f"interactions of order {order}: orders are 1 to {MOST_ORDER}")
    n = len(factors)
    coalitions = full(n)
    if n > MOST_FACTORS_OF_TRIPLES:
        order = min(order, 2)
    of = figure_sets(n, order)
    return Figures(
        tuple(Figure(kind, tuple(factors[i] for i in members)) for kind, members in of),
        coalitions,
        _exact(n, order),
    )


def figure_sets(n: int, order: int) -> list[tuple[Kind, tuple[int, ...]]]:
    """The figures of n factors up to an order, as kinds and indices of factors."""
    found: list[tuple[Kind, tuple[int, ...]]] = [("total", ())] if n else []
    for kind in _SINGLE:
        found += [(kind, (i,)) for i in range(n)]
    for size in range(2, order + 1):
        for kind in _TOGETHER:
            found += [(kind, members) for members in combinations(range(n), size)]
    return found


@lru_cache(maxsize=4)
def _exact(n: int, order: int) -> NDArray[np.float64]:
    """``[figures, 2^n]``, read-only."""
    import numpy as np

    states = as_array(full(n), n)
    rows = [weights_of(kind, members, states) for kind, members in figure_sets(n, order)]
    weights = np.stack(rows) if rows else np.zeros((0, len(states)))
    weights.flags.writeable = False
    return weights


def weights_of(
    kind: Kind, members: Sequence[int], states: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """``[2^n]``: one figure's weights over all coalitions, given as ``[2^n, n]``.

    Discrete derivatives (Grabisch and Roubens 1999, Dhamdhere, Agarwal and Sundararajan 2020):
    a coalition that holds j of the s members and t others has the sign (-1)^(s - j) and the weight
    of t others.
    """
    import numpy as np

    n, s = states.shape[1], len(members)
    weights: NDArray[np.float64]
    if kind == "total":
        size = states.sum(axis=1)
        weights = (size == n).astype(np.float64) - (size == 0)
        return weights
    inside = states[:, list(members)].sum(axis=1)
    outside = states.sum(axis=1) - inside
    weights = np.where((s - inside) % 2 == 0, 1.0, -1.0) * others_weights(kind, n, s)[outside]
    return weights


def others_weights(kind: Kind, n: int, s: int) -> NDArray[np.float64]:
    """``[n - s + 1]``: the weight of a state of the others, by how many of them are on, in a figure
    of `s` of `n` factors. For every kind but `total`."""
    import numpy as np

    counts = range(n - s + 1)
    return np.array([_of_state(kind, n, s, t) for t in counts], dtype=np.float64)


def _of_state(kind: Kind, n: int, s: int, t: int) -> float:
    """The weight of one state of the n - s others, of which t are on."""
    others = n - s
    if kind == "interaction":
        return float(t == 0)
    if kind == "removal_cost":
        return float(t == others)
    if kind == "banzhaf":
        return 0.5**others
    if kind == "stii":
        return s / n / comb(n - 1, t)
    return factorial(others - t) * factorial(t) / factorial(others + 1)
