"""How many of something, in words. Imports nothing: commands that only list load it."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """`1 trial`, `1,000 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
