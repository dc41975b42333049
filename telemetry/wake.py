"""Wake-ups: what an emitter tells the collector, and how often."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_RANKS_PER_SECOND = 64


class Wake(msgspec.Struct, frozen=True):
    """What an emitter pushes: that a spool has grown. The events themselves are in the spool."""

    trial: str
    attempt: int
    rank: int
    last_seq: int
    """The sequence number of the newest event that is in the spool."""
    held_bytes: int = 0
    """What the disk has not taken yet."""


Push = Callable[[Wake], object]
"""Hands a wake-up over without waiting; False: not now, try later. What it raises is counted."""


def usual_interval_s(ranks: int) -> float:
    """Seconds between two wake-ups of one rank of `ranks`: one, and more from 64 ranks on.

    So a trial sends at most 64 wake-ups a second, however many ranks it has.

    >>> usual_interval_s(1), usual_interval_s(256)
    (1.0, 4.0)
    """
    return max(1.0, ranks / _RANKS_PER_SECOND)
