"""Coalitions drawn at random, in independent draws, each with the complement of each.

The draws share what every one of them needs and what is not left to chance (all off, all on, and
so on): that is measured once and counted once in the budget.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Literal

from telemetry.counterfactual.coalitions import Coalition, CoalitionError, in_order

if TYPE_CHECKING:
    import numpy as np

Sampled = Literal["paired_regression", "kernel_shap", "k_additive", "permutation"]
_LISTED = 20_000
"""A pool of up to this many pairs is listed and shuffled; a larger one is drawn from."""


@dataclass(frozen=True)
class Draw:
    """One draw.

    Attributes:
        coalitions: distinct, in binary order, each with its complement.
        importance: how much each counts in a weighted regression, aligned; empty: all alike.
        orders: permutations of the factors, each followed by its reverse; empty but for
            `permutation`.
    """

    coalitions: tuple[Coalition, ...]
    importance: tuple[float, ...] = ()
    orders: tuple[tuple[int, ...], ...] = ()


def least_budget(estimator: Sampled, n: int, draws: int) -> int:
    """The smallest budget, over all draws, with which an estimator may give figures and an error.

    Whether a k-additive regression can be solved depends on what is drawn too.
    """
    if estimator == "permutation":
        return 2 + draws * 2 * (n - 1)
    return 2 * (n + 1) + 2 * draws


def drawn(estimator: Sampled, n: int, budget: int, draws: int, seed: int) -> tuple[Draw, ...]:
    """Independent draws of together at most `budget` distinct coalitions.

    Raises `CoalitionError` if the budget is below `least_budget`, or fewer than two draws are
    asked.
    """
    if draws < 2:
        raise CoalitionError(
            f"{draws} draw of coalitions: 2 or more are needed to tell the sampling error"
        )
    least = least_budget(estimator, n, draws)
    if budget < least:
        raise CoalitionError(
            f"a budget of {budget} coalitions is too small for {estimator} with {n} factors and "
            f"{draws} draws: the least is {least}"
        )
    import numpy as np

    streams = [np.random.default_rng([seed, draw]) for draw in range(draws)]
    if estimator == "paired_regression":
        return _balanced(n, budget, streams)
    if estimator == "permutation":
        return _antithetic(n, budget, streams)
    return _by_kernel(n, budget, draws, seed)


def complement(coalition: Coalition) -> Coalition:
    return tuple(not on for on in coalition)


def _even(count: int) -> int:
    return count + count % 2


def _paired(halves: Sequence[frozenset[int]], n: int) -> tuple[Coalition, ...]:
    """Coalitions by what is on, and their complements."""
    on = [tuple(i in half for i in range(n)) for half in halves]
    return in_order([*on, *map(complement, on)])


def _balanced(n: int, budget: int, streams: Sequence[np.random.Generator]) -> tuple[Draw, ...]:
    """None, each alone, and their complements; beyond them pairs without replacement, those first
    that split the factors most evenly: they tell the factors apart best."""
    core = [frozenset[int](), *(frozenset({i}) for i in range(n))]
    room = (budget - 2 * len(core)) // 2
    lists = [_halves(n, room, stream) for stream in streams]
    taken: list[list[frozenset[int]]] = [[] for _ in streams]
    distinct: set[frozenset[int]] = set()
    for place in range(len(lists[0])):
        for mine, halves in zip(taken, lists, strict=True):
            if halves[place] in distinct or len(distinct) < room:
                distinct.add(halves[place])
                mine.append(halves[place])
    return tuple(Draw(_paired([*core, *mine], n)) for mine in taken)


def _halves(n: int, count: int, stream: np.random.Generator) -> list[frozenset[int]]:
    """One coalition of each of `count` pairs, of at most n / 2 factors and at least 2."""
    found: list[frozenset[int]] = []
    for size in range(n // 2, 1, -1):
        wanted = min(count - len(found), _pool(n, size))
        found += _of_size(n, size, wanted, stream)
    return found


def _pool(n: int, size: int) -> int:
    """How many pairs have a coalition of that size."""
    return comb(n, size) // (2 if 2 * size == n else 1)


def _of_size(n: int, size: int, count: int, stream: np.random.Generator) -> list[frozenset[int]]:
    """Different coalitions; of two complements of size n / 2, the one with the first factor."""
    if _pool(n, size) <= _LISTED:
        pool = [c for c in combinations(range(n), size) if 2 * size < n or c[0] == 0]
        return [frozenset(pool[i]) for i in stream.permutation(len(pool))[:count]]
    found: dict[frozenset[int], None] = {}
    while len(found) < count:
        chosen = frozenset(int(i) for i in stream.choice(n, size, replace=False))
        if 2 * size == n and 0 not in chosen:
            chosen = frozenset(range(n)) - chosen
        found[chosen] = None
    return list(found)


def _antithetic(n: int, budget: int, streams: Sequence[np.random.Generator]) -> tuple[Draw, ...]:
    """Permutations, each with its reverse, whose coalitions are the complements of its own."""
    each = (budget - 2) // (2 * (n - 1) * len(streams))
    result = []
    for stream in streams:
        orders: list[tuple[int, ...]] = []
        for _ in range(each):
            order = tuple(int(i) for i in stream.permutation(n))
            orders += [order, order[::-1]]
        prefixes = [frozenset(order[:k]) for order in orders for k in range(n + 1)]
        result.append(Draw(_paired(prefixes, n), orders=tuple(orders)))
    return tuple(result)


def _by_kernel(n: int, budget: int, draws: int, seed: int) -> tuple[Draw, ...]:
    """By shapiq's sampler, with pairing, from the Shapley kernel; as large as the budget allows."""
    size = _even(max(n + 2, budget // draws - 1))
    best = [_kernel_draw(n, size, seed * draws + draw) for draw in range(draws)]
    while True:
        left = budget - len({c for draw in best for c in draw.coalitions})
        size += _even(max(1, left // draws - 1))
        if left < 2 or size > 2**n - 2:
            return tuple(best)
        larger = [_kernel_draw(n, size, seed * draws + draw) for draw in range(draws)]
        if len({c for draw in larger for c in draw.coalitions}) > budget:
            return tuple(best)
        best = larger


def _kernel_draw(n: int, size: int, seed: int) -> Draw:
    import numpy as np
    from shapiq.approximator.sampling import CoalitionSampler

    kernel = np.array([0.0, *(1 / (s * (n - s)) for s in range(1, n)), 0.0])
    kernel[[0, n]] = kernel[1:n].max()  # both are always there, whatever their weight
    sampler = CoalitionSampler(n, kernel, pairing_trick=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a sample that is nearly everything: it only is slow
        sampler.sample(size)
    by_coalition = {
        tuple(bool(on) for on in row): float(weight)
        for row, weight in zip(
            sampler.coalitions_matrix, sampler.sampling_adjustment_weights, strict=True
        )
    }
    ordered = in_order(list(by_coalition))
    return Draw(ordered, tuple(by_coalition[coalition] for coalition in ordered))
