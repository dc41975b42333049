"""Which coalitions of factors to measure, and what follows from them.

A plan names coalitions; a table of them, once complete, gives total, Shapley and Banzhaf values,
removal costs and interactions. Every figure is a weight vector over coalitions (`Figures`), so that
whoever has scores by example or by seed can give it an interval. Imports no library on its own.
"""

from telemetry.counterfactual.coalitions import (
    MOST_FULL,
    NONE,
    Coalition,
    CoalitionError,
    ablation,
    bits,
    check_factors,
    coalition_of,
    from_name,
    full,
    in_order,
    mask,
    named,
    names_on,
)
from telemetry.counterfactual.matrix import (
    Cell,
    IncompleteMatrixError,
    Matrix,
    Regime,
    regime,
    slope_of,
)
from telemetry.counterfactual.plan import (
    ENUMERATED,
    CoalitionPlan,
    Estimator,
    plan_coalitions,
)
from telemetry.counterfactual.weights import KINDS, Figure, Figures, Kind, exact_figures

__all__ = [
    "ENUMERATED",
    "KINDS",
    "MOST_FULL",
    "NONE",
    "Cell",
    "Coalition",
    "CoalitionError",
    "CoalitionPlan",
    "Estimator",
    "Figure",
    "Figures",
    "IncompleteMatrixError",
    "Kind",
    "Matrix",
    "Regime",
    "ablation",
    "bits",
    "check_factors",
    "coalition_of",
    "exact_figures",
    "from_name",
    "full",
    "in_order",
    "mask",
    "named",
    "names_on",
    "plan_coalitions",
    "regime",
    "slope_of",
]
