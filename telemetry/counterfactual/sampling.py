"""A sample of coalitions: the figures it estimates, and how far they may be off.

The error has two sources of evidence. *Regression*: what an additive game leaves of the half
differences of complements gives the size of the rest, s; if the rest were random, alike and
independent, an estimate with weights w would be off by s times the length of w - e, where e are the
exact weights over all coalitions, and estimate -+ t s |w - e| would cover exactly. Games smoother
than that are covered more often. Banzhaf values rest on the middle, where a game that jumps at a
threshold has all its change: there s is the largest residual instead of the usual one (with which
such games were covered in 75 % at n = 10). *Draws*: how far the independent draws lie apart. The
larger of the two is the standard error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb, sqrt
from typing import TYPE_CHECKING

from telemetry.counterfactual.coalitions import Coalition, CoalitionError, as_array, check_factors
from telemetry.counterfactual.drawing import Draw, Sampled, complement
from telemetry.counterfactual.estimators import paired_places, paired_weights, shapley_weights
from telemetry.counterfactual.walsh import Remainder
from telemetry.counterfactual.weights import Figure, Figures, Kind, others_weights, weights_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
SMOOTH_REMAINDER = 3e-5
"""Variance of a coefficient of degree 3 as a share of a squared Shapley value, measured on games
62 + 10 tanh(single N(.1, .05) + pairs N(0, .01) + triples N(0, .005)), n = 8 to 12."""
_BALANCED = 1e-6
"""Weights of a figure add up to 0; a system that could not be solved has others."""
_LEAST_KEPT = 0.05
"""Of a residual's variance: where a fit leaves less of it, the residual tells little."""
_ESTIMATED: tuple[Kind, ...] = ("shapley", "banzhaf")


@dataclass(frozen=True, eq=False)
class SamplingError:
    """How far sampled figures may be off for want of the other coalitions.

    Attributes:
        figures: in the order of the arrays.
        standard_errors: ``[figures]``: the larger of the next two; 0 for what is exact.
        regression: ``[figures]``.
        between_draws: ``[figures]``: of the mean of the draws, pooled over the figures of a kind.
        degrees_of_freedom: of `regression`.
    """

    figures: tuple[Figure, ...]
    standard_errors: NDArray[np.float64]
    regression: NDArray[np.float64]
    between_draws: NDArray[np.float64]
    degrees_of_freedom: int

    def half_widths(self, confidence: float = CONFIDENCE) -> NDArray[np.float64]:
        """``[figures]``: each estimate's t interval reaches this far to both sides.

        For one figure at a time; for k together ask confidence 1 - (1 - confidence) / k.
        """
        from scipy.stats import t

        quantile = float(t.ppf((1 + confidence) / 2, self.degrees_of_freedom))
        result: NDArray[np.float64] = quantile * self.standard_errors
        return result


@dataclass(frozen=True, eq=False)
class Sample:
    """Coalitions of several draws, and what they estimate.

    Attributes:
        n: how many factors.
        estimator: how Shapley values are estimated.
        coalitions: of all draws, distinct, in the order that values are given in.
        draws: the draws.
    """

    n: int
    estimator: Sampled
    coalitions: tuple[Coalition, ...]
    draws: tuple[Draw, ...]

    @cached_property
    def _shapley(self) -> NDArray[np.float64]:
        return shapley_weights(self.estimator, self.draws, self.coalitions)

    @cached_property
    def _shapley_by_draw(self) -> tuple[NDArray[np.float64], ...]:
        return tuple(
            shapley_weights(self.estimator, [draw], self.coalitions) for draw in self.draws
        )

    @cached_property
    def _banzhaf(self) -> NDArray[np.float64]:
        return paired_weights(self.coalitions)[1]

    @cached_property
    def _states(self) -> NDArray[np.bool_]:
        return as_array(self.coalitions, self.n)

    def check(self) -> None:
        """Raises `CoalitionError` if a draw does not determine the Shapley values.

        A paired draw always does: it holds none and each alone. What is solved for it is left to
        those who have values.
        """
        if self.estimator == "paired_regression":
            return
        for weights in (self._shapley, *self._shapley_by_draw):
            if not abs(weights.sum(axis=1)).max() < _BALANCED:
                raise CoalitionError("its draws do not determine the Shapley values")

    def figures(self, factors: Sequence[str], order: int) -> Figures:
        """Weights over `coalitions` from all draws together."""
        import numpy as np

        check_factors(factors)
        sets = self._figure_sets(order)
        rows = [self._row(kind, members) for kind, members in sets]
        named = (Figure(kind, tuple(factors[i] for i in members)) for kind, members in sets)
        return Figures(tuple(named), self.coalitions, np.stack(rows))

    def draw_figures(self, factors: Sequence[str]) -> tuple[Figures, ...]:
        """Shapley values as each draw alone estimates them, over the same `coalitions`."""
        check_factors(factors)
        named = tuple(Figure("shapley", (factor,)) for factor in factors)
        return tuple(Figures(named, self.coalitions, by) for by in self._shapley_by_draw)

    def error(self, values: ArrayLike, factors: Sequence[str], order: int) -> SamplingError:
        """Of `figures`, from the values ``[coalitions]``, which must be complete.

        Raises `ValueError` for values that are missing (NaN) or not as many as the coalitions.
        """
        import numpy as np

        given = np.asarray(values, dtype=np.float64)
        if given.shape != (len(self.coalitions),) or not np.isfinite(given).all():
            raise ValueError(
                f"the sampling error needs a value for each of {len(self.coalitions)} coalitions, "
                f"got shape {given.shape} with {int((~np.isfinite(given)).sum())} not finite"
            )
        figures = self.figures(factors, order)
        usual, largest = self._remaining(given)
        wild = np.array([figure.kind == "banzhaf" for figure in figures.figures])
        regression = np.where(wild, largest, usual) * self._lengths(figures, order)
        between = np.zeros(len(figures.figures))
        apart = self._between_draws(given)
        between[[figure.kind == "shapley" for figure in figures.figures]] = apart
        return SamplingError(
            figures.figures,
            np.maximum(regression, between),
            regression,
            between,
            len(paired_places(self.coalitions)[0]) - self.n,
        )

    @cached_property
    def expected_relative_error(self) -> float:
        """Root mean square error of the Shapley values over their size, for a smooth game.

        Smooth: saturating, with weak interactions, as `SMOOTH_REMAINDER` has it. A guess before
        anything is measured; `error` is what the values say.
        """
        import numpy as np

        halves, there, _ = paired_places(self.coalitions)
        weights = 2 * self._shapley[:, there]
        rest = Remainder(as_array(halves, self.n))
        crossed = (weights * rest.towards).sum(axis=1)
        squares = (rest.times(weights.T).T * weights).sum(axis=1)
        scale = SMOOTH_REMAINDER * comb(self.n, 3)
        return sqrt(max(0.0, scale * float(np.mean(rest.own - 2 * crossed + squares))))

    def _figure_sets(self, order: int) -> list[tuple[Kind, tuple[int, ...]]]:
        """What can be told: Shapley and Banzhaf values as estimates, and whatever is there."""
        there = set(self.coalitions)
        sets: list[tuple[Kind, tuple[int, ...]]] = [("total", ())]
        sets += [(kind, (i,)) for kind in _ESTIMATED for i in range(self.n)]
        without = [complement(_on({i}, self.n)) for i in range(self.n)]
        sets += [("removal_cost", (i,)) for i in range(self.n) if without[i] in there]
        for size in range(2, order + 1):
            sets += [
                ("interaction", members)
                for members in combinations(range(self.n), size)
                if all(_on(part, self.n) in there for part in _parts(members))
            ]
        return sets

    def _row(self, kind: Kind, members: tuple[int, ...]) -> NDArray[np.float64]:
        weights: NDArray[np.float64]
        if kind == "shapley":
            weights = self._shapley[members[0]]
        elif kind == "banzhaf":
            weights = self._banzhaf[members[0]]
        else:
            weights = weights_of(kind, members, self._states)
        return weights

    def _lengths(self, figures: Figures, order: int) -> NDArray[np.float64]:
        """``[figures]``: the length of estimated less exact weights, over half differences."""
        import numpy as np

        lengths = np.zeros(len(figures.figures))
        for i, (kind, members) in enumerate(self._figure_sets(order)):
            if kind not in _ESTIMATED:
                continue
            exact = weights_of(kind, members, self._states)
            others = others_weights(kind, self.n, 1)
            by_count = [comb(self.n - 1, t) * others[t] ** 2 for t in range(self.n)]
            elsewhere = max(0.0, 2 * float(np.sum(by_count)) - float(exact @ exact))
            off = figures.weights[i] - exact
            # A half difference has twice the weight of its coalitions, and is one for every two.
            lengths[i] = sqrt(2 * (float(off @ off) + elsewhere))
        return lengths

    def _remaining(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """What an additive game leaves of the half differences: the root mean square, and the
        largest, each residual over what its leverage leaves of it."""
        import numpy as np

        halves, there, back = paired_places(self.coalitions)
        signs = np.where(as_array(halves, self.n), 1.0, -1.0)
        half = (values[there] - values[back]) / 2
        basis, _ = np.linalg.qr(signs)
        squares = (half - basis @ (basis.T @ half)) ** 2
        usual = sqrt(float(squares.sum()) / (len(halves) - self.n))
        kept = np.maximum(1.0 - (basis**2).sum(axis=1), _LEAST_KEPT)
        return usual, max(usual, sqrt(float((squares / kept).max())))

    def _between_draws(self, values: NDArray[np.float64]) -> float:
        """Standard error of the mean of the draws, pooled over factors, that add up to a total."""
        import numpy as np

        estimates = np.stack([weights @ values for weights in self._shapley_by_draw])
        variance = estimates.var(axis=0, ddof=1).sum() / (self.n - 1)
        return sqrt(float(variance) / len(self.draws))


def _on(members: set[int] | tuple[int, ...], n: int) -> Coalition:
    return tuple(i in members for i in range(n))


def _parts(members: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All subsets, with the empty one and the whole."""
    return [part for size in range(len(members) + 1) for part in combinations(members, size)]
