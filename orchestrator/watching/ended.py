"""What monitors said of hidden states in trials that have ended, counted by arm.

Trials of seconds begin and end between two looks: what they told is read from their rows.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from orchestrator.counted import counted
from orchestrator.home import Home
from orchestrator.planning import PlannedTrial
from orchestrator.watching.frame import Notice
from telemetry.rowlog import ROWS_NAME

ROWS_COME_FOR_S = 60.0
"""After the end of a trial: so long the rows that it left may still be folded."""

_ONE = re.compile(rb'"key":"health/(collapsed|nonfinite)"[^\n]*?"value":1(?:\.0)?[,}]')
_Told = tuple[Literal["warning", "critical"], str, str]
SAID: dict[str, _Told] = {
    "nonfinite": ("critical", "nonfinite_activations", "hidden states were NaN or infinite"),
    "collapsed": ("warning", "structural_collapse", "hidden states collapsed"),
}
"""By name of the row: level, kind and words of the alert."""
KINDS = frozenset(kind for _, kind, _ in SAID.values())


class EndedHealth:
    """Reads the rows of a trial once it has ended, and again only while more of them may come."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._found: dict[str, frozenset[str]] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._until_s: dict[str, float] = {}

    def look(self, ended: Iterable[PlannedTrial]) -> None:
        """Takes in the rows of trials that ended."""
        now = time.monotonic()
        for identity in dict.fromkeys(item.trial.identity for item in ended):
            if now <= self._until_s.setdefault(identity, now + ROWS_COME_FOR_S):
                self._read(identity)

    def forget(self, identity: str) -> None:
        """A trial runs again: what it tells is read anew once it has ended."""
        for known in (self._found, self._stamps, self._until_s):
            known.pop(identity, None)

    def notices(self, items: Iterable[PlannedTrial]) -> Iterator[Notice]:
        """`20 trials of true_collapse: hidden states collapsed`, arm by arm."""
        counts: Counter[tuple[str, str]] = Counter()
        for item in items:
            for name in self._found.get(item.trial.identity, ()):
                counts[item.trial.arm, name] += 1
        for (arm, name), count in counts.items():
            level, kind, words = SAID[name]
            yield Notice(level, kind, f"{counted(count, 'trial')} of {arm}: {words}", arm=arm)

    def _read(self, identity: str) -> None:
        path = self._home.trial(identity) / ROWS_NAME
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_size)
            if self._stamps.get(identity) != stamp:
                found = _ONE.findall(path.read_bytes())
                self._found[identity] = frozenset(name.decode() for name in found)
                self._stamps[identity] = stamp
        except OSError:  # none were ever folded, or somebody removed the trial
            return
