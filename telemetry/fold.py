"""`fold`: the one path from spools to metric rows.

It reads the spools of all attempts in order, reduces over ranks, and appends what is new to the
trial's row log before anyone sends it. Where attempts overlap in steps, the first row that was
logged stays. Folding again, in this process or another, adds nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from telemetry.reduction import AttemptReduction
from telemetry.rowlog import Row, RowLog
from telemetry.spool import CHUNK_BYTES, SpoolFile, SpoolReader, spools_of

logger = logging.getLogger(__name__)

RANK_TIMEOUT_S = 120.0
WAITING_READINGS = 100_000
"""While more is to be read, at most about so many readings of an attempt wait for other ranks."""
_LEAST_BYTES = 1024


class TrialFold:
    """Folds one trial, keeping byte offsets so that folding again costs what is new.

    `rank_timeout_s`: how long a step waits for ranks that do not report, from when its first
    reading was read here, by `clock` (seconds). How many ranks went into a row is in `Row.ranks`.
    Counters: `events` read, `unreadable` spool lines. Not thread-safe.
    """

    def __init__(
        self,
        trial_folder: Path | str,
        *,
        rank_timeout_s: float = RANK_TIMEOUT_S,
        waiting_readings: int = WAITING_READINGS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(trial_folder)
        self.log = RowLog(self.folder)
        self.events = 0
        self.behind = False
        """True if the last `fold` stopped at its limit: there is more to read."""
        self._rank_timeout_s, self._clock = rank_timeout_s, clock
        self._waiting_readings = waiting_readings
        self._warned: set[tuple[int, int]] = set()
        self._readers: dict[tuple[int, int], SpoolReader] = {}
        self._unread: set[tuple[int, int]] = set()
        self._attempts: dict[int, AttemptReduction] = {}

    @property
    def unreadable(self) -> int:
        """Spool lines that were no event: torn by a death, or of a newer version."""
        return sum(reader.unreadable for reader in self._readers.values())

    @property
    def silent(self) -> int:
        """Ranks that kept a step beyond its time and have not reported since, over all attempts."""
        return sum(len(reduction.silent) for reduction in self._attempts.values())

    @property
    def waiting(self) -> int:
        """Readings that are held here because other ranks may yet report the same step."""
        return sum(reduction.held for reduction in self._attempts.values())

    def fold(self, *, ended: bool = False, limit_bytes: int = CHUNK_BYTES) -> list[Row]:
        """Reads what is new, logs its rows, and gives back those that were new to the log.

        `ended`: no rank will report any more, so nothing waits for a rank. About `limit_bytes` of
        an attempt are read per call (see `behind`). Raises `OSError` if the row log can't be
        written; then nothing is lost, and folding again repeats it.
        """
        if self.log.lost():
            self._start_over({})
        before = {place: reader.offset for place, reader in self._readers.items()}
        try:
            rows = self._read(ended, limit_bytes)
            return self.log.append(rows) if rows else []
        except OSError:
            self._start_over(before)
            raise

    def fold_all(self, *, ended: bool = False) -> int:
        """Folds until nothing is left to read; gives how many rows were new."""
        count = len(self.fold(ended=ended))
        while self.behind:
            count += len(self.fold(ended=ended))
        return count

    def _read(self, ended: bool, limit_bytes: int) -> list[Row]:
        rows: list[Row] = []
        self.behind = False
        last_attempt = 0
        for attempt, spools in groupby(spools_of(self.folder), key=lambda spool: spool.attempt):
            if self.behind:  # the first attempt's rows stay, so it is read to its end first
                break
            last_attempt = attempt
            rows.extend(self._read_attempt(attempt, list(spools), limit_bytes))
        # While there is more to read, a rank that seems silent may only be unread; one whose spool
        # is read to its end is not waited for once too much waits.
        overdue = None if self.behind else self._clock() - self._rank_timeout_s
        finished = ended and not self.behind
        for attempt in sorted(self._attempts):
            reduction = self._attempts[attempt]
            # A partial step of an attempt that was superseded may yet be given whole by the next.
            older_than = overdue if attempt == last_attempt else None
            if self.behind and reduction.held > self._waiting_readings:
                unread = {rank for at, rank in self._unread if at == attempt}
                reduction.leave_behind(set(range(reduction.ranks)) - unread)
            rows.extend(reduction.complete(seen_before_s=older_than))
            self._warn_of_silent(reduction)
        if finished:
            for attempt in sorted(self._attempts):
                rows.extend(self._attempts[attempt].rest())
        return rows

    def _read_attempt(
        self, attempt: int, spools: list[SpoolFile], limit_bytes: int
    ) -> Iterator[Row]:
        reduction = self._attempts.setdefault(attempt, AttemptReduction(attempt))
        reduction.ranks = max(reduction.ranks, len(spools))
        ahead = self._ahead(reduction)
        limit_bytes = max(limit_bytes // max(len(spools) - len(ahead), 1), _LEAST_BYTES)
        now_s = self._clock()
        for spool in spools:
            place = (attempt, spool.rank)
            if place in ahead:
                self.behind = True
                continue
            reader = self._readers.setdefault(place, SpoolReader(spool.path))
            start = reader.offset
            for event in reader.read(limit_bytes):
                self.events += 1
                yield from reduction.take(event, now_s)
            self._unread.discard(place)
            if reader.offset > start and reader.behind():
                self._unread.add(place)
                self.behind = True

    def _ahead(self, reduction: AttemptReduction) -> set[tuple[int, int]]:
        """The spools not to read on while too much waits for others that are not read yet."""
        unread = {place for place in self._unread if place[0] == reduction.attempt}
        if reduction.held <= self._waiting_readings or not unread:
            return set()
        reached = {place: reduction.reached(place[1]) for place in unread}
        return {place for place in unread if reached[place] > min(reached.values())}

    def _warn_of_silent(self, reduction: AttemptReduction) -> None:
        """One warning for each rank of an attempt."""
        fresh = {(reduction.attempt, rank) for rank in reduction.silent} - self._warned
        if fresh:
            self._warned |= fresh
            logger.warning(
                "%s, attempt %d: no word from rank %s any more; its steps are reduced without it",
                self.folder.name,
                reduction.attempt,
                ", ".join(str(rank) for _, rank in sorted(fresh)),
            )

    def _start_over(self, offsets: dict[tuple[int, int], int]) -> None:
        """Forgets what was read since `offsets`; with several ranks, all that was gathered."""
        self._unread.clear()
        if any(reduction.ranks > 1 for reduction in self._attempts.values()):
            self._readers.clear()
            self._attempts.clear()
            return
        for place, reader in self._readers.items():
            reader.offset = offsets.get(place, 0)


def fold(trial_folder: Path | str, *, ended: bool = False) -> list[Row]:
    """Folds a trial from cold, all of it: the rows that were new to its row log."""
    trial = TrialFold(trial_folder)
    rows = trial.fold(ended=ended)
    while trial.behind:
        rows += trial.fold(ended=ended)
    return rows
