"""Reading what processes have printed: as it is, or as it grows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from orchestrator.attempts import Attempt, attempts
from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.jobs_shown import Workers
from orchestrator.ledger import read_trial
from orchestrator.log_files import log_path, logged_ranks
from orchestrator.records import State

READ_EVERY_S = 0.2
LOOK_EVERY_S = 1.0
RETRY_PATIENCE_S = 5.0
"""How long a failed trial is watched for the attempt that a retry within the run begins."""
REPORT_PATIENCE_S = 120.0
"""How long the log of a driver is watched that has left its seat, and whose process has not ended:
it writes the report, or is a notebook that does other things."""
_CHUNK_BYTES = 1 << 16

Tell = Callable[[bytes], object]
Say = Callable[[str], object]


@dataclass
class GrowingFile:
    """A file that others append to, or begin anew under the same name."""

    path: Path
    _file: IO[bytes] | None = field(default=None, repr=False)

    def read(self) -> Iterator[bytes]:
        """What has come since the last time."""
        if self._file is None:
            self._file = self._opened()
        while self._file is not None:
            while chunk := self._file.read(_CHUNK_BYTES):
                yield chunk
            if not self._begun_anew():
                return
            while chunk := self._file.read(_CHUNK_BYTES):  # its last words
                yield chunk
            self.close()
            self._file = self._opened()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> IO[bytes] | None:
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            return None

    def _begun_anew(self) -> bool:
        assert self._file is not None
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)


@dataclass(frozen=True)
class TrialLogs:
    """The logs of a trial, of one rank. `workers`: of the studies that planned it."""

    home: Home
    identity: str
    workers: Workers
    rank: int = 0

    @property
    def state(self) -> State:
        return read_trial(self.home, self.identity).state

    def attempt(self, number: int | None) -> Attempt | None:
        """That attempt, or the newest; None where there is none yet.

        Raises `UsageError` for an attempt that there was not, or a rank that it has no log of.
        """
        tries = attempts(self.home.trial(self.identity))
        if number is not None and number not in [one.number for one in tries]:
            there = ", ".join(str(one.number) for one in tries) or "none"
            raise UsageError(f"{self.identity[:8]} has no attempt {number}; there are: {there}.")
        chosen = next((one for one in tries if one.number == number), tries[-1] if tries else None)
        if chosen is not None and not self.path(chosen).exists():
            ranks = logged_ranks(chosen.folder)
            if ranks and max(ranks) < self.rank:
                there = ", ".join(map(str, ranks))
                raise UsageError(
                    f"attempt {chosen.number} of {self.identity[:8]} has no rank {self.rank}; "
                    f"there are logs of: {there}."
                )
        return chosen

    def path(self, attempt: Attempt) -> Path:
        return log_path(attempt.folder, self.rank)

    def follow(self, number: int | None, tell: Tell, say: Say) -> None:
        """Gives what is printed as it comes: of one attempt up to its end, or (None) of the newest
        and those that follow it, until the trial has ended or nobody works on it.

        `say` is told which attempt begins, and why it ends.
        """
        only = number is not None
        first = self.attempt(number)
        at = first.number if first else 0
        while True:
            following = self._appeared(at, say)
            if following is None:
                return
            if not only and at != (first.number if first else 0):
                say(f"-- attempt {at}")
            if not self._read_out(following, tell, only):
                say(self._last_word(following))
                return
            at += 1

    def _appeared(self, number: int, say: Say) -> Attempt | None:
        """Waits for an attempt; None, said why, if nobody will make it."""
        while True:
            for one in attempts(self.home.trial(self.identity)):
                if one.number == number:
                    return one
            if not self.workers.there():
                say(f"{self.identity[:8]}: {self.state}, and nobody runs its study")
                return None
            time.sleep(LOOK_EVERY_S)

    def _read_out(self, attempt: Attempt, tell: Tell, only: bool) -> bool:
        """Gives an attempt's log up to its end. Whether another attempt follows it."""
        file = GrowingFile(self.path(attempt))
        looked_at, ended_at = 0.0, None
        try:
            while True:
                over = False
                if time.monotonic() - looked_at >= LOOK_EVERY_S:
                    looked_at = time.monotonic()
                    newer = attempts(self.home.trial(self.identity))[-1].number > attempt.number
                    ended = newer or attempt.life() == "dead" or self.state in _OVER
                    ended_at = ended_at or (looked_at if ended else None)
                    over = ended and (newer or only or not self._waits(ended_at))
                for chunk in file.read():  # after the look: nothing is printed after an end
                    tell(chunk)
                if over:
                    return newer and not only
                time.sleep(READ_EVERY_S)
        finally:
            file.close()

    def _waits(self, ended_at: float | None) -> bool:
        """Whether another attempt may follow one that has ended."""
        state = self.state
        if state in _OVER and state != "failed":
            return False
        if state == "failed":
            waited = time.monotonic() - (ended_at or 0.0)
            return waited < RETRY_PATIENCE_S and self.workers.there()
        return self.workers.there()

    def _last_word(self, attempt: Attempt) -> str:
        where = f"-- {self.identity[:8]} attempt {attempt.number}"
        end = attempt.end()
        if end is not None and end.failure is not None:
            return f"{where}: {end.state}: {end.failure.kind}: {end.failure.cause}"
        return f"{where}: {end.state if end is not None else self.state}"


_OVER: tuple[State, ...] = ("done", "failed", "pruned", "cancelled")


def follow_driver(study_folder: Path, path: Path, tell: Tell) -> None:
    """Gives a driver's log as it grows, until nobody drives the study and the last who did has
    ended: its report comes after it has left the driver's seat."""
    file, workers = GrowingFile(path), Workers([study_folder])
    looked_at, left_at = 0.0, None
    try:
        while True:
            over = False
            if (now := time.monotonic()) - looked_at >= LOOK_EVERY_S:
                looked_at = now
                left_at = None if workers.there() else left_at or now
                over = left_at is not None and (
                    now - left_at >= REPORT_PATIENCE_S or not _process_of_last_driver(study_folder)
                )
            for chunk in file.read():
                tell(chunk)
            if over:
                return
            time.sleep(READ_EVERY_S)
    finally:
        file.close()


def _process_of_last_driver(study_folder: Path) -> bool:
    """Whether it is known to be there still."""
    seats = attempts(study_folder / "driver")
    claim = seats[-1].claim() if seats else None
    return claim is not None and claim.process.alive_here() is True
