"""Simultaneous intervals for a family of arms that share one comparator.

Bonferroni needs no assumption on how the comparisons hang together. Dunnett uses that they share
the comparator and is a little narrower; with unequal variances it is the approximation of Hasler
and Hothorn (2008, Biometrical Journal 50): the multivariate t with the estimated correlations, at
each comparison's own degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy import special

from orchestrator.statistics.contrasts import Estimate, difference
from orchestrator.statistics.moments import Floats, Moments
from orchestrator.statistics.quantiles import t_upper

Method = Literal["bonferroni", "dunnett"]


def simultaneous_half_widths(
    arms: Sequence[Moments],
    comparator: Moments,
    confidence: float = 0.95,
    method: Method = "bonferroni",
    family: int | None = None,
) -> list[float]:
    """Half-width of each arm's difference to the comparator, simultaneous over the family.

    Args:
        arms: unbatched moments of the arms to compare.
        family: comparisons planned; at least, and by default, the number of arms given.

    Raises:
        ValueError: an unknown method, or a family smaller than the arms given.
    """
    size = len(arms) if family is None else family
    if size < len(arms):
        raise ValueError(f"a family of {size} cannot hold {len(arms)} comparisons")
    differences = [difference(arm, comparator) for arm in arms]
    if method == "bonferroni":
        return [float(one.half_width(confidence, size)) for one in differences]
    if method != "dunnett":
        raise ValueError(f"unknown method {method!r}; valid: bonferroni, dunnett")
    loadings = dunnett_loadings(differences, comparator, size)
    return [dunnett_half_width(one, loadings, confidence) for one in differences]


def dunnett_half_width(one: Estimate, loadings: Floats, confidence: float) -> float:
    """Half-width of one unbatched difference in a family with these ``loadings``."""
    quantile = partial(_dunnett_quantiles, loadings=loadings, confidence=confidence)
    return float(one.half_width_at(quantile))


def dunnett_critical(df: float, loadings: Floats, confidence: float) -> float:
    """The c with P(max |T_i| <= c) = confidence for a multivariate t.

    Comparisons i and j correlate with ``loadings[i] * loadings[j]``: 0.5 for equal variances, where
    loadings are sqrt(0.5). Integrated over the shared normal and the common chi, by quadrature.
    """
    from scipy import optimize

    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    weights = weights / weights.sum()
    levels, level_weights = np.polynomial.legendre.leggauss(40)
    probabilities = (levels + 1) / 2
    scale = np.sqrt(special.chdtri(df, 1 - probabilities) / df) if np.isfinite(df) else np.ones(40)
    own = np.sqrt(1 - loadings**2)
    shift = loadings * nodes[:, None]

    def shortfall(critical: float) -> float:
        edge = critical * scale[:, None, None]
        inside = special.ndtr((edge - shift) / own) - special.ndtr((-edge - shift) / own)
        joint = inside.prod(axis=-1) @ weights
        return float(joint @ (level_weights / 2)) - confidence

    upper = float(t_upper((1 - confidence) / (2 * loadings.size), df))
    return float(optimize.brentq(shortfall, 0.0, upper * 1.05 + 1e-6, xtol=1e-6))


def _dunnett_quantiles(df: Any, loadings: Floats, confidence: float) -> Floats:
    flat = [dunnett_critical(float(one), loadings, confidence) for one in np.ravel(df)]
    return np.asarray(flat).reshape(np.shape(df))


def dunnett_loadings(differences: Sequence[Estimate], comparator: Moments, size: int) -> Floats:
    """How far each comparison hangs on the comparator's seeds; one not seen yet: not at all."""
    shared = float(comparator.seed_variance) / comparator.seeds
    ratios = [shared / float(d.variance) if float(d.variance) > 0 else 0.0 for d in differences]
    squares = np.nan_to_num(np.array(ratios + [0.0] * (size - len(ratios))))
    return np.asarray(np.sqrt(np.clip(squares, 0.0, 0.99)))
