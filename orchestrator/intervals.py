"""An estimate with the ends of its interval, as plain data. None is "not told", never 0."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate in steps (or an area) with its interval; ends are None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Median:
    """A median over runs with an exact interval (order statistics); a run without an alarm lies
    beyond every step.

    Attributes:
        value: None without runs, and where fewer than half of them reached it (only then is
            `reached` False).
        low, high: None without an interval (too few runs), or where an end is open.
        open_low, open_high: that end lies beyond the last step.
    """

    value: float | None
    reached: bool = True
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False


@dataclass(frozen=True)
class Figure:
    """An estimate with its ends. `why`: why one is missing; `events`: runs that count."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""
    events: int | None = None
