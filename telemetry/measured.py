"""What a rank says it measured, as plain numbers; whatever is no number is left out and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def number(value: Any) -> float | None:
    """A value of a metric; None is "not measured".

    Raises `TypeError` for text, even if it reads as a number, and whatever ``float`` raises.

    >>> number(3)
    3.0
    """
    if value is None or type(value) is float:
        return value
    if isinstance(value, str | bytes | bytearray):
        raise TypeError(f"{value!r} is text")
    return float(value)


def numbers(
    values: Mapping[str, Any], left_out: Callable[[Exception], object]
) -> dict[str, float | None]:
    """The values that are numbers, by key; `left_out` is told of each other one.

    Raises `AttributeError` if `values` is no mapping.
    """
    try:
        return {key: number(value) for key, value in values.items()}
    except Exception:  # some are none: one by one, then
        pass
    found: dict[str, float | None] = {}
    for key, value in values.items():
        try:
            found[str(key)] = number(value)
        except Exception as error:
            left_out(TypeError(f"metric {key!r} is no number: {error}"))
    return found
