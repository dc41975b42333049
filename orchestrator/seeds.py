"""Seeds as a study file lists them: numbers, and ranges of them such as `0-98`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

MOST_SEEDS = 100_000
"""That one list may stand for."""
_RANGE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*", re.ASCII)

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What every library takes as a seed."""


def listed_seeds(given: Any) -> Any:
    """A list of numbers from one with ranges, or from one range; both ends of a range are included.

    `0-3` and `[0-2, 3]` are `[0, 1, 2, 3]`. Anything else is given back as it is, for the field to
    refuse. Raises ValueError for a range that runs backwards, or stands for too many.
    """
    parts = given if isinstance(given, list | tuple) else [given] if _is_range(given) else None
    if parts is None:
        return given
    found: list[Any] = []
    for part in parts:
        if not _is_range(part):
            found.append(part)
            continue
        seeds = _range(part)
        if len(found) + len(seeds) > MOST_SEEDS:
            raise ValueError(
                f"'{part}' makes more than {MOST_SEEDS:,} seeds: give fewer, such as 0-98"
            )
        found += seeds
    return found


def shown_seeds(seeds: list[int] | tuple[int, ...]) -> str:
    """As a person would list them: `0-98, 200`; only runs of three and more are drawn together."""
    return ", ".join(_runs(seeds))


def _runs(seeds: list[int] | tuple[int, ...]) -> Iterator[str]:
    place = 0
    while place < len(seeds):
        end = place
        while end + 1 < len(seeds) and seeds[end + 1] == seeds[end] + 1:
            end += 1
        if end - place >= 2:
            yield f"{seeds[place]}-{seeds[end]}"
            place = end + 1
        else:
            yield str(seeds[place])
            place += 1


def _is_range(part: Any) -> bool:
    return isinstance(part, str) and _RANGE.fullmatch(part) is not None


def _range(text: str) -> range:
    found = _RANGE.fullmatch(text)
    assert found is not None
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise ValueError(f"'{text}' runs backwards: write {last}-{first}")
    return range(first, last + 1)


def different_seeds(seeds: list[int]) -> list[int]:
    """The same list. Raises ValueError if a seed is given twice: it would count as two runs."""
    if len(set(seeds)) != len(seeds):
        counts = Counter(seeds)
        twice = next(seed for seed in seeds if counts[seed] > 1)
        raise ValueError(f"seeds must differ, but {twice} is given more than once")
    return seeds


Range = Annotated[str, Field(pattern=r"^\s*[0-9]+\s*-\s*[0-9]+\s*$")]
Seeds = Annotated[
    list[Seed],
    BeforeValidator(listed_seeds, json_schema_input_type=list[Seed | Range] | Range),
    AfterValidator(different_seeds),
]
"""A list of seeds; in a file a range such as `0-98` may stand for it, or in it."""
