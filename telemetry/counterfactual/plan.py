"""Which coalitions to measure: all of them, or a sample with a stated error.

>>> plan_coalitions(3)
CoalitionPlan(3 factors: all 8 coalitions)
>>> plan_coalitions(8, budget=40).described().partition(";")[0]
'8 factors: 40 of 256 coalitions in 2 draws, paired_regression'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from telemetry.counterfactual import coalitions as coalitions_
from telemetry.counterfactual.coalitions import MOST_FULL, Coalition, CoalitionError, in_order
from telemetry.counterfactual.drawing import Sampled, drawn, least_budget
from telemetry.counterfactual.sampling import Sample, SamplingError
from telemetry.counterfactual.walsh import MOST_PAIRS, MOST_TRANSFORMED
from telemetry.counterfactual.weights import MOST_ORDER, Figures, exact_figures

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Estimator = Literal["auto", "paired_regression", "kernel_shap", "k_additive", "permutation"]
ENUMERATED = 64
"""Up to this many coalitions (n = 6), all are measured without being asked for."""
BUDGET_PER_FACTOR = 5
"""Coalitions for each factor where a sample is due and no budget is given."""
_SEARCH = 1.1


@dataclass(frozen=True, eq=False, repr=False)
class CoalitionPlan:
    """The coalitions to measure, and the figures that will follow from them.

    Attributes:
        n: how many factors.
        coalitions: distinct, in binary order; values are given in this order.
        sample: how they were drawn; None if all 2^n are there.
    """

    n: int
    coalitions: tuple[Coalition, ...]
    sample: Sample | None = None

    @property
    def enumerated(self) -> bool:
        return self.sample is None

    @property
    def estimator(self) -> Literal["enumeration"] | Sampled:
        return "enumeration" if self.sample is None else self.sample.estimator

    @cached_property
    def expected_error(self) -> float:
        """Of a Shapley value, as a share of it, if the game is smooth (see `Sample`); 0 if all
        coalitions are measured."""
        return 0.0 if self.sample is None else self.sample.expected_relative_error

    def figures(self, factors: Sequence[str] | None = None, order: int = MOST_ORDER) -> Figures:
        """Weights over `coalitions`, all draws together.

        Of a sample: total, and removal costs and plain interactions wherever their coalitions were
        measured, as they are; Shapley and Banzhaf values as estimates. Raises `CoalitionError` for
        names that are not n, or overlap.
        """
        names = self._names(factors)
        if self.sample is None:
            return exact_figures(names, order)
        return self.sample.figures(names, order)

    def draw_figures(self, factors: Sequence[str] | None = None) -> tuple[Figures, ...]:
        """Shapley values as each draw alone has them, over all `coalitions`; none if enumerated."""
        return () if self.sample is None else self.sample.draw_figures(self._names(factors))

    def sampling_error(
        self, values: ArrayLike, factors: Sequence[str] | None = None, order: int = MOST_ORDER
    ) -> SamplingError | None:
        """How far `figures` may be off for want of the coalitions that were not measured.

        From the values ``[coalitions]``; None if there are none such. It holds no noise of the
        values themselves. Raises `ValueError` for values that are missing.
        """
        if self.sample is None:
            return None
        return self.sample.error(values, self._names(factors), order)

    def described(self) -> str:
        """One line: what will be measured, and how exact that is."""
        if self.sample is None:
            return f"{self.n} factors: all {len(self.coalitions):,} coalitions"
        return (
            f"{self.n} factors: {len(self.coalitions):,} of {2**self.n:,} coalitions in "
            f"{len(self.sample.draws)} draws, {self.sample.estimator}; Shapley values "
            f"expected to be off by about {100 * self.expected_error:.2g} % if the game is smooth"
        )

    def _names(self, factors: Sequence[str] | None) -> tuple[str, ...]:
        if factors is None:
            return tuple(f"factor{i + 1}" for i in range(self.n))
        if len(factors) != self.n:
            raise CoalitionError(
                f"{len(factors)} names ({', '.join(factors)}) for a plan of {self.n} factors"
            )
        return tuple(factors)

    def __repr__(self) -> str:
        return f"CoalitionPlan({self.described()})"


def plan_coalitions(
    n: int,
    *,
    full: bool = False,
    budget: int | None = None,
    estimator: Estimator = "auto",
    draws: int = 2,
    seed: int = 0,
) -> CoalitionPlan:
    """All coalitions of n factors if 2^n <= 64, if `full`, or if the budget allows; else a sample.

    `budget`: distinct coalitions over all draws (default: 5 n). `auto` is the estimator of the
    least error known for every n and budget that it can be had at, `paired_regression`. The same
    arguments give the same plan.

    Raises `CoalitionError` for `full` beyond 16 factors (with what sampling would cost), fewer than
    two draws, and a budget too small for the estimator (with the least that works).
    """
    if n < 0:
        raise CoalitionError(f"{n} factors: there are 0 or more")
    if full and n > MOST_FULL:
        sampled = plan_coalitions(n, budget=budget, draws=draws, seed=seed)
        raise CoalitionError(
            f"all 2^{n} = {2**n:,} coalitions of {n} factors are too many (the most is {MOST_FULL} "
            f"factors). Sampled instead, with a budget of {len(sampled.coalitions)}: "
            f"{sampled.described()}"
        )
    if full or 2**n <= ENUMERATED or (budget is not None and budget >= 2**n and n <= MOST_FULL):
        return CoalitionPlan(n, coalitions_.full(n))
    chosen: Sampled = "paired_regression" if estimator == "auto" else estimator
    if budget is None:
        budget = max(BUDGET_PER_FACTOR * n, least_budget(chosen, n, draws))
    return _sampled(n, budget, chosen, draws, seed)


def _sampled(n: int, budget: int, estimator: Sampled, draws: int, seed: int) -> CoalitionPlan:
    """A plan whose every draw gives an estimate. Raises `CoalitionError` with the least budget, or
    the largest."""
    if estimator == "paired_regression" and n > MOST_TRANSFORMED and budget > 2 * MOST_PAIRS:
        raise CoalitionError(
            f"a budget of {budget:,} coalitions of {n} factors is more than {estimator} can solve "
            f"for: at most {2 * MOST_PAIRS:,} beyond {MOST_TRANSFORMED} factors; or take the "
            "estimator permutation"
        )
    parts = drawn(estimator, n, budget, draws, seed)
    coalitions = in_order([coalition for draw in parts for coalition in draw.coalitions])
    sample = Sample(n, estimator, coalitions, parts)
    try:
        sample.check()
    except CoalitionError as error:
        least = _least_that_works(n, budget, estimator, draws, seed)
        raise CoalitionError(
            f"a budget of {budget} coalitions is too small for {estimator}: {error}; the least "
            f"that works is {least}, or take the estimator paired_regression"
        ) from None
    return CoalitionPlan(n, coalitions, sample)


def _least_that_works(n: int, budget: int, estimator: Sampled, draws: int, seed: int) -> str:
    """Found by raising the budget in steps of a tenth."""
    while budget < 2**n:
        budget = int(budget * _SEARCH) + 2
        parts = drawn(estimator, n, budget, draws, seed)
        coalitions = in_order([coalition for draw in parts for coalition in draw.coalitions])
        try:
            Sample(n, estimator, coalitions, parts).check()
        except CoalitionError:
            continue
        return f"about {budget}"
    return f"all {2**n}"
