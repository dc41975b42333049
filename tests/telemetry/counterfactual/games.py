"""Games whose every coalition is known: what figures and their errors are tested on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from telemetry.counterfactual import Coalition, Figures, Kind, exact_figures, full, mask

Values = NDArray[np.float64]
Game = Callable[[int, np.random.Generator], Values]
"""``[2^n]``, in binary order, from n and a stream."""

TABLE = {
    "000": 62.3,
    "001": 64.1,
    "010": 63.8,
    "011": 65.2,
    "100": 63.5,
    "101": 65.8,
    "110": 64.9,
    "111": 66.4,
}
"""A printed table of three slots, early, mid, late, whose exact figures are known."""


def coalition(bits: str) -> Coalition:
    return tuple(bit == "1" for bit in bits)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"x{i}" for i in range(n))


@lru_cache(maxsize=8)
def states(n: int) -> NDArray[np.float64]:
    return np.array(full(n), dtype=float).reshape(2**n, n)


@lru_cache(maxsize=8)
def products(n: int, order: int) -> NDArray[np.float64]:
    """``[2^n, sets]``: whether all of a set are on."""
    sets = combinations(range(n), order)
    return np.column_stack([states(n)[:, list(members)].prod(axis=1) for members in sets])


def smooth(n: int, stream: np.random.Generator) -> Values:
    """62 + 10 tanh(single N(.1, .05) + pairs N(0, .01) + triples N(0, .005))."""
    inner = states(n) @ stream.normal(0.1, 0.05, n)
    for order, sd in ((2, 0.01), (3, 0.005)):
        terms = products(n, order)
        inner = inner + terms @ stream.normal(0, sd, terms.shape[1])
    values: Values = 62 + 10 * np.tanh(inner)
    return values


def random(n: int, stream: np.random.Generator) -> Values:
    """No structure at all: independent normal values."""
    values: Values = stream.normal(0, 1, 2**n)
    return values


def rough(n: int, stream: np.random.Generator) -> Values:
    """Additive, with an independent rest of half the size."""
    values: Values = 62 + states(n) @ stream.normal(1, 1, n) + stream.normal(0, 0.5, 2**n)
    return values


def threshold(n: int, stream: np.random.Generator) -> Values:
    """10 once enough weight is on, else 0."""
    weights = stream.uniform(0, 1, n)
    values: Values = 10.0 * (states(n) @ weights > 0.6 * weights.sum())
    return values


def saturating(n: int, stream: np.random.Generator) -> Values:
    """Factors that do each other's work: diminishing returns, strongly."""
    values: Values = 60 + 20 * (1 - np.exp(-states(n) @ stream.exponential(0.5, n)))
    return values


def dominated(n: int, stream: np.random.Generator) -> Values:
    """One factor does nearly all."""
    weights = np.r_[2.0, stream.normal(0.05, 0.05, n - 1)]
    values: Values = 62 + 10 * np.tanh(0.7 * states(n) @ weights)
    return values


def together(n: int, stream: np.random.Generator) -> Values:
    """Six groups of 2 to 4 factors that work only all together, over an additive part."""
    inner = states(n) @ stream.normal(0.3, 0.3, n)
    for _ in range(6):
        members = stream.choice(n, int(stream.integers(2, 5)), replace=False)
        inner = inner + stream.normal(0, 1) * states(n)[:, members].prod(axis=1)
    values: Values = 60 + inner
    return values


FAMILIES: dict[str, Game] = {
    "smooth": smooth,
    "random": random,
    "rough": rough,
    "threshold": threshold,
    "saturating": saturating,
    "dominated": dominated,
    "together": together,
}


@lru_cache(maxsize=8)
def exact(n: int) -> Figures:
    return exact_figures(names(n), 1)


def truth(n: int, values: Values, kind: Kind = "shapley") -> Values:
    """``[n]``: the exact figures of a kind."""
    return exact(n).only(kind).of(values)


def at(values: Values, coalitions: tuple[Coalition, ...]) -> Values:
    """What a game gives for some coalitions."""
    found: Values = values[[mask(on) for on in coalitions]]
    return found
