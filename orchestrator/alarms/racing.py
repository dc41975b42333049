"""Which of two alarms comes first, run by run, and what that supports over runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.alarms import result as words
from orchestrator.alarms.result import Rate
from orchestrator.intervals import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Race:
    """Runs in which the one alarms strictly before the other, in which the other does, in which
    both alarm at the same step, and in which neither does."""

    first: int
    than: int
    ties: int
    neither: int

    @property
    def runs(self) -> int:
        """All of them."""
        return self.first + self.than + self.ties + self.neither


@dataclass(frozen=True)
class Races:
    """The same runs at the thresholds as they are, and at the limits of what these may be.

    Thresholds for the same rate come from a sample of healthy runs, and two signals whose laws are
    alike get unlike ones. In `leaning_to_than` the first has its threshold at the upper limit and
    the other at the lower: wherever the thresholds of exactly that rate lie, it is first at least
    as often, and the other first at most as often. `leaning_to_first` is the other way round.
    """

    found: Race
    leaning_to_first: Race
    leaning_to_than: Race


def race(first: Floats, than: Floats) -> Race:
    """Of alarm steps [runs], infinite for a run that never alarms."""
    import numpy as np

    neither = np.isinf(first) & np.isinf(than)
    ties = (first == than) & ~neither
    return Race(*(int(one.sum()) for one in (first < than, than < first, ties, neither)))


def rate_of(events: int, runs: int, confidence: float) -> Rate:
    """A share of runs with its exact interval."""
    from orchestrator.statistics.proportions import exact_proportion

    found = exact_proportion(events, runs, confidence)
    return Rate(events, runs, found.rate, found.low, found.high)


def label_of(races: Races, names: tuple[str, str], confidence: float) -> str:
    """By the sign test: of the runs that decide, a signal is first in more than half, if the whole
    interval says so though the thresholds lean against it. `confidence` is simultaneous where it is
    to be.
    """
    if not races.found.runs:
        return words.NOT_MEASURED
    if races.found.neither == races.found.runs:
        return words.NEITHER
    if _mostly(races.leaning_to_than, confidence) > 0:
        return words.FIRST.format(names[0])
    if _mostly(races.leaning_to_first, confidence) < 0:
        return words.FIRST.format(names[1])
    return words.INCONCLUSIVE


def hung_on_thresholds(races: Races, names: tuple[str, str], confidence: float) -> str:
    """Which signal the thresholds as they are would call first; empty where none is."""
    return {1: names[0], -1: names[1], 0: ""}[_mostly(races.found, confidence)]


def _mostly(found: Race, confidence: float) -> int:
    """1: first in more than half of the runs that decide; -1: in less; 0: it cannot be told."""
    decided = rate_of(found.first, found.first + found.than, confidence)
    if decided.low is None or decided.high is None:
        return 0
    return int(decided.low > 0.5) - int(decided.high < 0.5)


def lead_of(
    first: Floats, than: Floats, onset: float, end: float, confidence: float
) -> tuple[Interval, Interval]:
    """Restricted mean and median of the steps by which the first is ahead.

    A signal that never alarms counts as one that does at `end`, the step after the last; `onset` is
    the earliest of the runs, before which nothing alarms.
    """
    import numpy as np

    from orchestrator.statistics.bounded import bounded_mean
    from orchestrator.statistics.times import median_of

    lead = np.minimum(than, end) - np.minimum(first, end)
    most = max(0.0, end - onset)
    return bounded_mean(lead, -most, most, confidence), median_of(lead, confidence)
