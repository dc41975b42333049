"""Which switches are on, as states in the order of the switches, and as names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

Coalition = tuple[bool, ...]
"""A state for each switch, in the order of the switches."""


def all_coalitions(count: int) -> list[Coalition]:
    """All 2^count coalitions, from all off to all on, the first switch changing last."""
    return list(product((False, True), repeat=count))


def as_states(names: Iterable[str], factors: Sequence[str]) -> Coalition:
    """The coalition in which just `names` are on. Raises ValueError for an unknown name."""
    on = frozenset(names)
    strange = sorted(on.difference(factors))
    if strange:
        raise ValueError(f"no factor {', '.join(strange)}; factors: {', '.join(factors) or 'none'}")
    return tuple(factor in on for factor in factors)


def as_names(states: Coalition, factors: Sequence[str]) -> frozenset[str]:
    """The names of what is on."""
    return frozenset(name for name, on in zip(factors, states, strict=True) if on)
