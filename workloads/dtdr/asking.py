"""What an encoded model can be asked: the keys of a point, their defaults and what they need.

Torch-free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from workloads.errors import InputError, did_you_mean

Domain = Literal["rows", "leading", "random", "largest"]
"""What is kept: the first blocks of rows of each tensor; or of each row's coefficients the first
ones, some at random, or the largest."""
Fill = Literal["zero", "random", "guided", "matched"]
"""What stands for the rest: nothing; noise as large as what is kept; `scale` times the anchor;
noise as large as that."""
Damage = Literal["bits", "bytes", "codes"]


@dataclass(frozen=True)
class Asked:
    """A point on an encoded model, in full.

    Attributes:
        fraction: share of the blocks or coefficients that is kept, in (0, 1].
        scale: of the anchor, with the fills guided and matched.
        shuffled: whether the anchor's values are permuted within each tensor.
        noise: standard deviation of Gaussian noise on the coefficients, in units of the root mean
            square of their tensor.
        damage, rate: flipped bits, or bytes xor 0x7F, of the encoded bytes or of the codes alone,
            and their share.
        checksums: whether damaged blocks are known as such; then they are filled like missing ones.
        draw: which random draw, where anything is random.
    """

    fraction: float = 1.0
    domain: Domain = "rows"
    fill: Fill = "zero"
    scale: float = 0.15
    shuffled: bool = False
    noise: float = 0.0
    damage: Damage | None = None
    rate: float = 0.0
    checksums: bool = False
    draw: int = 0

    @property
    def damaged(self) -> bool:
        """Whether encoded bytes are damaged."""
        return self.damage is not None and self.rate > 0

    @property
    def incomplete(self) -> bool:
        """Whether anything can be missing, so that a fill has something to stand for."""
        return self.fraction < 1 or (self.damaged and self.checksums)

    @property
    def anchored(self) -> bool:
        """Whether a fill, should one be needed, is made of an anchor. Zero times an anchor is the
        fill zero."""
        return self.fill in ("guided", "matched") and self.scale > 0

    @property
    def guided(self) -> bool:
        """Whether a fill is needed, and an anchor for it."""
        return self.incomplete and self.anchored

    @property
    def random(self) -> bool:
        """Whether another draw is another reconstruction."""
        filled_at_random = self.fill == "random" or (
            self.guided and (self.fill == "matched" or self.shuffled)
        )
        return (
            self.damaged
            or self.noise > 0
            or (self.fraction < 1 and self.domain == "random")
            or (self.incomplete and filled_at_random)
        )


def asked(point: Mapping[str, Any]) -> Asked:
    """Reads a point. Raises `InputError` naming the key, what was given and what is valid."""
    keys = [field.name for field in fields(Asked)]
    for key in point:
        if key not in keys:
            raise InputError(f"point: '{key}' is nothing to ask; {did_you_mean(str(key), keys)}")
    given = Asked(**{key: _READ[key](key, value) for key, value in point.items()})
    if given.rate > 0 and given.damage is None:
        raise InputError(
            f"rate: {given.rate:g} of nothing; give damage as well. Valid: {_listed(Damage)}"
        )
    return given


def in_full(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point as plain JSON with its defaults, and without what changes nothing in it: the fill of
    a whole model, the draw where nothing is random. Raises as `asked`.

    >>> in_full({"fraction": 1, "fill": "random", "draw": 3})
    {'fraction': 1.0}
    >>> in_full({"fraction": 0.5, "draw": 3})
    {'fraction': 0.5, 'domain': 'rows', 'fill': 'zero'}
    """
    given = asked(point)
    full: dict[str, Any] = {"fraction": given.fraction}
    if given.incomplete:
        full["domain"] = given.domain
        anchored = given.fill in ("guided", "matched")
        full["fill"] = "zero" if anchored and not given.guided else given.fill
    if given.guided:
        full["scale"] = given.scale
        if given.shuffled:
            full["shuffled"] = True
    if given.noise > 0:
        full["noise"] = given.noise
    if given.damaged:
        full |= {"damage": given.damage, "rate": given.rate, "checksums": given.checksums}
    if given.random:
        full["draw"] = given.draw
    return full


def _number(key: str, value: Any, valid: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{key}: {value!r} is no number; valid: {valid}")
    return float(value)


def _fraction(key: str, value: Any) -> float:
    valid = "more than 0, at most 1"
    number = _number(key, value, valid)
    if not 0 < number <= 1:
        raise InputError(f"{key}: {value!r} is no share to keep; valid: {valid}")
    return number


def _share(key: str, value: Any) -> float:
    number = _number(key, value, "0 to 1")
    if not 0 <= number <= 1:
        raise InputError(f"{key}: {value!r} is no share; valid: 0 to 1")
    return number


def _amount(key: str, value: Any) -> float:
    number = _number(key, value, "0 or more")
    if number < 0:
        raise InputError(f"{key}: {value!r} is less than nothing; valid: 0 or more")
    return number


def _whole(key: str, value: Any) -> int:
    number = _number(key, value, "0, 1, 2, …")
    if number < 0 or not number.is_integer():
        raise InputError(f"{key}: {value!r} is no draw; valid: 0, 1, 2, …")
    return int(number)


def _switch(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{key}: {value!r} is neither true nor false")
    return value


def _word(words: Any, key: str, value: Any) -> Any:
    if value not in get_args(words):
        raise InputError(f"{key}: {value!r}; {did_you_mean(str(value), get_args(words))}")
    return value


def _listed(words: Any) -> str:
    return ", ".join(get_args(words))


_READ: dict[str, Callable[[str, Any], Any]] = {
    "fraction": _fraction,
    "domain": lambda key, value: _word(Domain, key, value),
    "fill": lambda key, value: _word(Fill, key, value),
    "scale": _amount,
    "shuffled": _switch,
    "noise": _amount,
    "damage": lambda key, value: None if value is None else _word(Damage, key, value),
    "rate": _share,
    "checksums": _switch,
    "draw": _whole,
}
