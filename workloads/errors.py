"""The error that tells a person what was wrong with what they gave."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Raised for input a person can correct. One line: what was given, what is valid, what to do.

    The message's line breaks are turned into blanks.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def nearest(given: str, valid: Iterable[str]) -> str | None:
    """The valid word that is most like the given one; None where none is like it."""
    near = difflib.get_close_matches(given, sorted(valid), n=1, cutoff=0.5)
    return near[0] if near else None


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """A clause naming the valid words, and the nearest one first when there is one.

    >>> did_you_mean("qaa", ["qa", "continuation"])
    'did you mean qa? Valid: continuation, qa'
    """
    words = sorted(valid)
    near = nearest(given, words)
    listed = f"Valid: {', '.join(words)}"
    return f"did you mean {near}? {listed}" if near else listed


class DivergedError(ArithmeticError):
    """Raised by a trial that lost its numbers (NaN, infinity) and has nothing to be scored."""
