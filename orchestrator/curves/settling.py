"""What would settle an answer that is inconclusive: an estimate from the interval that is there."""

from __future__ import annotations

import math

from orchestrator.curves import curve as words
from orchestrator.curves.curve import CurveAnswer


def widest(answer: CurveAnswer) -> float | None:
    """Half the interval of an inconclusive answer, of several values the widest that is so; None
    where there is none, or it is open."""
    if answer.label != words.INCONCLUSIVE:
        return None
    ends = [(one.low, one.high) for one in answer.values if one.label == words.INCONCLUSIVE]
    known = [
        (high - low) / 2
        for low, high in ends or [(answer.low, answer.high)]
        if low is not None and high is not None
    ]
    return max(known, default=None)


def settled_by(answer: CurveAnswer) -> int | None:
    """How many examples would make half the interval half the margin, if it narrows as one over the
    root of their number; to two digits, rounded up. None where it is as narrow already, and where
    it holds the scatter of random draws, which examples do not narrow."""
    half = widest(answer)
    if half is None or answer.examples is None or answer.draws or half <= answer.margin / 2:
        return None
    takes = answer.examples * (half / (answer.margin / 2)) ** 2
    unit = 10.0 ** max(0, math.floor(math.log10(takes)) - 1)
    return math.ceil(takes / unit) * round(unit)
