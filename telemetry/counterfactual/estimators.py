"""Weights over sampled coalitions that estimate Shapley values, one estimator each.

All of them are linear in the values, add up to the total and are exact for additive games.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

from telemetry.counterfactual.coalitions import Coalition, CoalitionError, as_array, in_order
from telemetry.counterfactual.drawing import Draw, Sampled
from telemetry.counterfactual.walsh import predicted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_CONDITION = 1e4
"""Above this condition number of its regression, a k-additive estimate is refused."""


def shapley_weights(
    estimator: Sampled, draws: Sequence[Draw], coalitions: Sequence[Coalition]
) -> NDArray[np.float64]:
    """``[n, coalitions]``: what these draws estimate together, 0 where they have no coalition.

    Raises `CoalitionError` if they do not determine the Shapley values.
    """
    import numpy as np

    n = len(coalitions[0])
    place = {coalition: i for i, coalition in enumerate(coalitions)}
    if estimator == "permutation":
        return _over_orders([order for draw in draws for order in draw.orders], place)
    mine = in_order([coalition for draw in draws for coalition in draw.coalitions])
    if estimator == "paired_regression":
        weights, _ = paired_weights(tuple(mine))
    else:
        importance = _importance(draws, mine)
        order = 2 if estimator == "k_additive" else 1
        weights = _least_squares(as_array(mine, n), importance, order)
    result = np.zeros((n, len(coalitions)))
    result[:, [place[coalition] for coalition in mine]] = weights
    return result


@lru_cache(maxsize=8)
def paired_weights(
    coalitions: tuple[Coalition, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of Shapley and of Banzhaf values, each ``[n, coalitions]``, read-only (see `walsh`).

    Raises `CoalitionError` if the coalitions do not tell the factors apart.
    """
    import numpy as np

    n = len(coalitions[0])
    halves, there, back = paired_places(coalitions)
    try:
        estimates = predicted(as_array(halves, n))
    except np.linalg.LinAlgError:
        raise CoalitionError(
            f"{len(coalitions)} coalitions do not tell {n} factors apart: raise the budget"
        ) from None
    spread = []
    for by_half in estimates:
        weights = np.zeros((n, len(coalitions)))
        weights[:, there] += by_half / 2
        weights[:, back] -= by_half / 2
        weights.flags.writeable = False
        spread.append(weights)
    return spread[0], spread[1]


def paired_places(
    coalitions: Sequence[Coalition],
) -> tuple[list[Coalition], list[int], list[int]]:
    """Pairs of complements among coalitions: those with the first factor on, and the places of
    these and of the others."""
    place = {coalition: i for i, coalition in enumerate(coalitions)}
    pairs = [
        (coalition, place[coalition], place[other])
        for coalition in coalitions
        if coalition[0] and (other := tuple(not on for on in coalition)) in place
    ]
    return [p[0] for p in pairs], [p[1] for p in pairs], [p[2] for p in pairs]


def _importance(draws: Sequence[Draw], coalitions: Sequence[Coalition]) -> NDArray[np.float64]:
    """``[coalitions]``: the mean over the draws, 0 in a draw that lacks one."""
    import numpy as np

    total = dict.fromkeys(coalitions, 0.0)
    for draw in draws:
        for coalition, weight in zip(draw.coalitions, draw.importance, strict=True):
            total[coalition] += weight / len(draws)
    return np.array([total[coalition] for coalition in coalitions])


def _least_squares(
    states: NDArray[np.bool_], importance: NDArray[np.float64], order: int
) -> NDArray[np.float64]:
    """KernelSHAP (Lundberg and Lee 2017) for order 1, k-additive (Pelegrina 2023) for order 2.

    The regression of the values on signs, and products of two, weighted by kernel and importance
    and exact where all are off or on. A Shapley value is twice its factor's coefficient.
    """
    import numpy as np

    n = states.shape[1]
    signs = np.where(states, 1.0, -1.0)
    products = [signs[:, i] * signs[:, j] for i, j in combinations(range(n), 2)]
    terms = np.column_stack([np.ones(len(states)), signs, *(products if order == 2 else [])])
    size = states.sum(axis=1)
    fixed = (size == 0) | (size == n)
    kernel = np.zeros(len(states))
    kernel[~fixed] = [1 / ((n - 1) * comb(n - 2, int(s) - 1)) for s in size[~fixed]]
    root = np.sqrt(kernel * importance)[:, None]
    condition = float(np.linalg.cond(np.vstack([root * terms, terms[fixed]])))
    if order == 2 and not condition <= MOST_CONDITION:
        raise CoalitionError(
            f"the k-additive regression of {n} factors on {len(states)} coalitions is "
            f"ill-conditioned (condition number {condition:.2g})"
        )
    # Minimise the weighted squares subject to the two fixed values, by Lagrange multipliers.
    count, ends = terms.shape[1], terms[fixed]
    normal = (root * terms).T @ (root * terms)
    system = np.block([[normal, ends.T], [ends, np.zeros((2, 2))]])
    ends_only = np.zeros((2, len(states)))
    ends_only[[0, 1], np.flatnonzero(fixed)] = 1
    right = np.vstack([(root**2 * terms).T, ends_only])
    solved = np.linalg.lstsq(system, right, rcond=None)[0][:count]
    result: NDArray[np.float64] = 2 * solved[1 : n + 1]
    return result


def _over_orders(
    orders: Sequence[tuple[int, ...]], place: dict[Coalition, int]
) -> NDArray[np.float64]:
    """The mean over permutations of what a factor adds to those before it."""
    import numpy as np

    n = len(orders[0])
    weights = np.zeros((n, len(place)))
    for order in orders:
        on = [False] * n
        for factor in order:
            weights[factor, place[tuple(on)]] -= 1 / len(orders)
            on[factor] = True
            weights[factor, place[tuple(on)]] += 1 / len(orders)
    return weights
