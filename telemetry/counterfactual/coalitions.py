"""Coalitions: which of the factors are on, in the order of the factors.

>>> named((True, False, True), ("early", "mid", "late")), bits((True, False, True))
('early+late', '101')
>>> len(full(3)), ablation(2)
(8, ((True, True), (False, True), (True, False), (False, False)))
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Coalition = tuple[bool, ...]
"""On or off, by factor. The first factor is the leftmost bit of a table ("100": early on)."""

MOST_FULL = 16
"""The most factors whose 2^n coalitions are all enumerated."""
NONE = "none"
"""The name of the coalition in which every factor is off."""
_JOIN = "+"


class CoalitionError(ValueError):
    """A coalition, a factor's name or a plan of coalitions that makes no sense."""


def check_factors(factors: Sequence[str]) -> None:
    """Raises `CoalitionError` for names that repeat, are empty, or would read as a coalition."""
    if doubles := sorted({name for name in factors if list(factors).count(name) > 1}):
        raise CoalitionError(
            f"factors overlap: {', '.join(doubles)} given more than once in {', '.join(factors)}; "
            "name each factor once"
        )
    if wrong := [name for name in factors if not name or name == NONE or _JOIN in name]:
        raise CoalitionError(
            f"factor {wrong[0]!r} cannot be told from a coalition: a name is not empty, is not "
            f"{NONE!r} and has no {_JOIN!r}; rename it"
        )


def full(n: int) -> tuple[Coalition, ...]:
    """All 2^n coalitions in binary order, the first factor the highest bit: 000, 001, 010, …

    Raises `CoalitionError` for n beyond 16.
    """
    if n > MOST_FULL:
        raise CoalitionError(
            f"2^{n} = {2**n:,} coalitions of {n} factors are too many to enumerate (the most is "
            f"{MOST_FULL} factors); sample them with a budget"
        )
    return tuple(product((False, True), repeat=n))


def ablation(n: int) -> tuple[Coalition, ...]:
    """All on, each one off in turn, all off: what removal costs need. Distinct, also for n < 2."""
    everything = (True,) * n
    without = [tuple(j != i for j in range(n)) for i in range(n)]
    return tuple(dict.fromkeys([everything, *without, (False,) * n]))


def names_on(coalition: Coalition, factors: Sequence[str]) -> tuple[str, ...]:
    """The factors that are on, in order. Raises `CoalitionError` if the lengths differ."""
    if len(coalition) != len(factors):
        raise CoalitionError(
            f"a coalition of {len(coalition)} bits ({bits(coalition)}) for {len(factors)} factors "
            f"({', '.join(factors)})"
        )
    return tuple(name for name, on in zip(factors, coalition, strict=True) if on)


def named(coalition: Coalition, factors: Sequence[str]) -> str:
    """The name in tables and of arms: the factors on, joined by ``+``; "none" if all are off."""
    return _JOIN.join(names_on(coalition, factors)) or NONE


def joined(names: Iterable[str]) -> str:
    """The name of a pair or triple of factors."""
    return _JOIN.join(names)


def columns(factors: Sequence[str], taken: Collection[str]) -> dict[str, str]:
    """The column of each factor in a table that has columns `taken` too: its name, or
    ``factor NAME`` where that is one of them."""
    used = {*taken, *factors}
    found = {}
    for name in factors:
        column = name
        while column in taken or (column != name and column in used):
            column = f"factor {column}"
        found[name] = column
        used.add(column)
    return found


def coalition_of(on: Collection[str], factors: Sequence[str]) -> Coalition:
    """The coalition in which just these factors are on. Raises `CoalitionError` for others."""
    if strange := sorted(set(on) - set(factors)):
        raise CoalitionError(f"no factor {', '.join(strange)}; factors: {', '.join(factors)}")
    return tuple(name in on for name in factors)


def from_name(name: str, factors: Sequence[str]) -> Coalition:
    """The coalition of that name: the inverse of `named`."""
    return coalition_of(() if name == NONE else name.split(_JOIN), factors)


def bits(coalition: Coalition) -> str:
    """As a table shows it: "101"."""
    return "".join("1" if on else "0" for on in coalition)


def mask(coalition: Coalition) -> int:
    """As a number: its place in `full`."""
    return int(bits(coalition) or "0", 2)


def in_order(coalitions: Sequence[Coalition]) -> tuple[Coalition, ...]:
    """Distinct coalitions in binary order: those that agree on the first factors lie together."""
    return tuple(sorted(set(coalitions), key=mask))


def as_array(coalitions: Sequence[Coalition], n: int) -> NDArray[np.bool_]:
    """``[coalitions, n]``."""
    import numpy as np

    return np.array(coalitions, dtype=bool).reshape(len(coalitions), n)
