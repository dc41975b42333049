"""A sink around a sink: waits out absences, and in between answers at once that it is absent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from telemetry.rowlog import Row
from telemetry.runs import StudyRun, TrialEnd, TrialRun
from telemetry.sinks.protocol import Sink, SinkUnavailableError

T = TypeVar("T")


class RetryingSink:
    """The same protocol as `sink`, with retries.

    A call that finds the sink absent is tried again, at growing intervals, for up to `patience_s`.
    After that, and until the next try is due, calls raise `SinkUnavailableError` without trying:
    nothing is kept in memory here, because files hold it all and it is folded again.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        patience_s: float = 0.0,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sink = sink
        self.absences = 0
        self._patience_s = patience_s
        self._first_wait_s, self._longest_wait_s = first_wait_s, longest_wait_s
        self._clock, self._sleep = clock, sleep
        self._wait_s = 0.0
        self._next_try = float("-inf")

    @property
    def retry_in_s(self) -> float:
        """Seconds until the sink is tried again; 0 while it is there."""
        return max(0.0, self._next_try - self._clock()) if self._wait_s else 0.0

    def _call(self, call: Callable[[], T]) -> T:
        deadline = self._clock() + self._patience_s
        while True:
            if self.retry_in_s > 0:
                if self._next_try > deadline:
                    raise SinkUnavailableError(f"absent; next try in {self.retry_in_s:.1f} s")
                self._sleep(self.retry_in_s)
            try:
                result = call()
            except SinkUnavailableError:
                self.absences += 1
                longer = self._wait_s * 2 if self._wait_s else self._first_wait_s
                self._wait_s = min(longer, self._longest_wait_s)
                self._next_try = self._clock() + self._wait_s
                if self._next_try > deadline:
                    raise
                continue
            self._wait_s = 0.0
            return result

    def prepare(self) -> None:
        """As `Sink.prepare`."""
        self._call(self.sink.prepare)

    def store_id(self) -> str:
        """As `Sink.store_id`."""
        return self._call(self.sink.store_id)

    def write_study(self, study: StudyRun) -> str:
        """As `Sink.write_study`."""
        return self._call(lambda: self.sink.write_study(study))

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        """As `Sink.write_trial`."""
        return self._call(lambda: self.sink.write_trial(study, trial, rows, end))

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        """As `Sink.log_artifacts`."""
        self._call(lambda: self.sink.log_artifacts(study, folder, under))
