"""Which figures follow from the coalitions that a study measures or trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.study_file import Factorial, Removal
    from telemetry.counterfactual.coalitions import Coalition
    from telemetry.counterfactual.plan import CoalitionPlan
    from telemetry.counterfactual.weights import Figure


@dataclass(frozen=True, eq=False)
class PlannedFigures:
    """The figures of a plan of coalitions, over their values in the plan's order.

    `sampling`: from values [coalitions], the standard errors [figures] that come from the choice
    of coalitions, and their degrees of freedom; None where all are measured.
    """

    coalitions: tuple[Coalition, ...]
    figures: tuple[Figure, ...]
    weights: NDArray[np.float64]
    sampling: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], float]] | None
    described: str


def planned_figures(design: Factorial | Removal, factors: tuple[str, ...]) -> PlannedFigures:
    """What a design's coalitions of `factors` give.

    Raises ValueError for more factors than can be enumerated, or too small a budget.
    """
    plan = _plan(
        len(factors),
        design.full,
        design.budget,
        design.estimator,
        design.draws,
        design.sampling_seed,
    )
    figures = plan.figures(factors, design.order)
    sample, order = plan.sample, design.order

    def sampling(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        assert sample is not None
        error = sample.error(values, factors, order)
        return error.standard_errors, float(error.degrees_of_freedom)

    return PlannedFigures(
        coalitions=plan.coalitions,
        figures=figures.figures,
        weights=figures.weights,
        sampling=None if sample is None else sampling,
        described=plan.described(),
    )


@lru_cache(maxsize=16)
def _plan(
    n: int, full: bool, budget: int | None, estimator: Any, draws: int, seed: int
) -> CoalitionPlan:
    """Sampling takes a while, and every model of an arm is asked for the same coalitions."""
    from telemetry.counterfactual.plan import plan_coalitions

    return plan_coalitions(n, full=full, budget=budget, estimator=estimator, draws=draws, seed=seed)
