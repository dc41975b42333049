"""NaN and infinities in JSON: JSON has none, so each is written as null and named beside the data.

A diverged loss must be recorded and be told apart from "not measured". Data is written with null in
the place of a non-finite number, together with a map from the number's place (an RFC 6901 JSON
pointer) to its name: ``"nan"``, ``"inf"`` or ``"-inf"``.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

_VALUES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def name_of(value: float) -> str:
    """The name of a non-finite number: ``"nan"``, ``"inf"`` or ``"-inf"``.

    >>> name_of(float("-inf"))
    '-inf'
    """
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


def value_of(name: str) -> float:
    """The number that `name_of` named. Raises `ValueError` for any other name."""
    try:
        return _VALUES[name]
    except KeyError:
        raise ValueError(f"{name!r} names no non-finite number; valid: {sorted(_VALUES)}") from None


def find(data: Any) -> dict[str, str]:
    """The non-finite numbers in nested dicts, lists and structs: JSON pointer -> name.

    >>> find({"loss": [1.0, float("nan")]})
    {'/loss/1': 'nan'}
    """
    found: dict[str, str] = {}
    _collect(data, "", found)
    return found


def restore(data: Any, places: dict[str, str]) -> None:
    """Puts the named numbers back into `data`, in place. Places that are gone are passed over."""
    for pointer, name in places.items():
        *path, last = [
            part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]
        ]
        try:
            holder = data
            for part in path:
                holder = _child(holder, part)
            if isinstance(holder, list):
                holder[int(last)] = value_of(name)
            elif isinstance(holder, msgspec.Struct):
                if last in holder.__struct_fields__:
                    msgspec.structs.force_setattr(holder, last, value_of(name))
            else:
                holder[last] = value_of(name)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue


def _child(holder: Any, part: str) -> Any:
    if isinstance(holder, list):
        return holder[int(part)]
    return getattr(holder, part) if isinstance(holder, msgspec.Struct) else holder[part]


def _collect(data: Any, pointer: str, found: dict[str, str]) -> None:
    if isinstance(data, float):
        if not math.isfinite(data):
            found[pointer] = name_of(data)
    elif isinstance(data, dict):
        for key, value in data.items():
            part = str(key).replace("~", "~0").replace("/", "~1")
            _collect(value, f"{pointer}/{part}", found)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            _collect(value, f"{pointer}/{index}", found)
    elif isinstance(data, msgspec.Struct):
        for name in data.__struct_fields__:
            _collect(getattr(data, name), f"{pointer}/{name}", found)
