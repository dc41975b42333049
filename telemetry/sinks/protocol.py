"""The sink protocol: five calls, all of them repeatable without effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from telemetry.rowlog import Row
from telemetry.runs import StudyRun, TrialEnd, TrialRun


class SinkError(RuntimeError):
    """The sink refused something, and would refuse it again."""


class SinkUnavailableError(SinkError):
    """The sink can't be reached now; the same call may succeed later."""


class RunGoneError(SinkError):
    """A run that was written to before is no longer there; what it held must be sent again."""


class Sink(Protocol):
    """Shows studies and trials somewhere. One writer at a time; each call may be repeated.

    Every call raises `SinkUnavailableError` if the sink can't be reached, `SinkError` if it
    refuses. A sink can be pickled before its first call.
    """

    def prepare(self) -> None:
        """Makes what takes long once (a database schema), early."""

    def store_id(self) -> str:
        """Names the store behind the sink: another text once it was deleted and made anew.

        Cheap: it imports nothing heavy where that can be avoided.
        """

    def write_study(self, study: StudyRun) -> str:
        """Finds or makes the study's run, brings note, tags and state up to date; gives its id."""

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        """Finds or makes the trial's run, adds `rows`, closes it if `end` is given; gives its id.

        Raises `RunGoneError` if a run that this sink used before has been removed.
        """

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        """Copies the content of `folder` to the study's run, below `under`."""
