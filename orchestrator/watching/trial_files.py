"""The records of many trials, read again only where a trial's folder has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.attempts import Attempt, attempts
from orchestrator.errors import OrreryError
from orchestrator.home import Home
from orchestrator.ledger import PLANNED, TrialRecord, read_trial

SETTLED_AFTER_S = 2.0
"""A folder that changed so lately is looked into once more: clocks of file systems are coarse."""


@dataclass
class TrialFiles:
    """Follows the files of trials. A look costs one listing of the home, and a read for each trial
    whose folder changed or that is under way; not for those that ended or have not begun.

    `damaged` names trials whose files cannot be read, and why; their last known record stands.
    """

    home: Home
    records: dict[str, TrialRecord] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    _stamps: dict[str, int] = field(default_factory=dict)
    _unsettled: set[str] = field(default_factory=set)
    _under_way: dict[str, Attempt] = field(default_factory=dict)

    def follow(self, known: Mapping[str, TrialRecord], listed: Mapping[str, int]) -> None:
        """Follows these trials from now on, with what is known of them already; `listed` is a
        `listing` from before that became known."""
        for identity, record in known.items():
            if identity not in self.records:
                self.records[identity] = record
                if identity in listed and record.state != PLANNED:
                    self._take(identity, record, listed[identity])

    def listing(self) -> dict[str, int]:
        """When the folder of each trial of the home changed last, in nanoseconds."""
        try:
            with os.scandir(self.home.trials) as entries:
                return {entry.name: entry.stat().st_mtime_ns for entry in entries}
        except FileNotFoundError:
            return {}

    def look(self) -> list[str]:
        """Identities whose record is another than at the last look."""
        stamps = {i: stamp for i, stamp in self.listing().items() if i in self.records}
        changed = [identity for identity in self._suspects(stamps) if self._read(identity, stamps)]
        for identity in self._stamps.keys() - stamps.keys():  # somebody removed its folder
            del self._stamps[identity]
            self.records[identity] = TrialRecord(identity, PLANNED)
            self._under_way.pop(identity, None)
            changed.append(identity)
        return changed

    def attempt(self, identity: str) -> Attempt | None:
        """The attempt that is under way."""
        return self._under_way.get(identity)

    def _suspects(self, stamps: Mapping[str, int]) -> Iterable[str]:
        for identity, stamp in stamps.items():
            moved = identity in self._unsettled or self._stamps.get(identity) != stamp
            running = self._under_way.get(identity)
            # the end of a running one is written into the attempt's own folder
            if moved or (running is not None and running.life() == "dead"):
                yield identity

    def _read(self, identity: str, stamps: Mapping[str, int]) -> bool:
        stamp = stamps[identity]
        try:
            record = read_trial(self.home, identity)
        except OrreryError as error:
            self.damaged[identity] = str(error)
            record = self.records[identity]
        else:
            self.damaged.pop(identity, None)
        before, self.records[identity] = self.records[identity], record
        self._take(identity, record, stamp)
        return record != before

    def _take(self, identity: str, record: TrialRecord, stamp: int) -> None:
        """Notes at which state of its folder a trial was read."""
        self._stamps[identity] = stamp
        if time.time() - stamp / 1e9 > SETTLED_AFTER_S:
            self._unsettled.discard(identity)
        else:
            self._unsettled.add(identity)
        if record.state == "running":
            self._under_way[identity] = attempts(self.home.trial(identity))[-1]
        else:
            self._under_way.pop(identity, None)
