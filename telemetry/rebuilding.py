"""Makes the row log of a trial anew from its events, when the log is lost and spools are archived.

The events go back into spools, in a folder that is removed afterwards, and through `fold` like any
others: so rows come out as they were, with values, steps and times. A step that was once given
without a silent rank is now reduced over all ranks that did report. So a log of several ranks that
was made anew gets a mark, which a run's tag repeats: a sink that would show both rows of a step
makes the run anew (`ROWS_TAG`).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from itertools import groupby
from pathlib import Path

from telemetry.events import encode
from telemetry.filesystem import locked, replace
from telemetry.fold import TrialFold
from telemetry.parquet import events_in_order
from telemetry.rowlog import LOCK_NAME, RowLog
from telemetry.scratch import scratch_prefix
from telemetry.spool import spool_path

REBUILDING = ".rebuild-"
"""How the folder begins, beside the log, in which it is made anew."""
_MARK_NAME = "rows.rebuilt"


def rebuilt_mark(trial_folder: Path | str) -> str | None:
    """Names what the row log was made anew to; None if it is the first, or would be no other.

    Raises `OSError` if that can't be read.
    """
    try:
        return Path(trial_folder, _MARK_NAME).read_text()
    except FileNotFoundError:
        return None


def rebuild_rows(trial_folder: Path | str) -> int:
    """Logs the rows of all events in ``events.parquet`` and the spools; those logged before stay.

    For a trial that has ended: nothing waits for a rank. A log that was gone is there whole or not
    at all. Gives how many rows were new. Takes as much disk as the spools took, and raises
    `OSError` if there is none.
    """
    folder = Path(trial_folder)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(REBUILDING), dir=folder) as temporary:
        several = _write_spools(folder, Path(temporary))
        count = TrialFold(temporary).fold_all(ended=True)
        made, log = RowLog(Path(temporary)), RowLog(folder)
        with locked(folder / LOCK_NAME):
            if count and not log.path.exists():
                if several:
                    _mark(folder, made.path)
                log.begin_anew()
                os.replace(made.path, log.path)
                return count
        return _copy_rows(made, log)


def _mark(folder: Path, log: Path) -> None:
    """The same events give the same mark: a log that is lost twice is no other the second time."""
    with log.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    replace(folder / _MARK_NAME, digest.encode())


def _write_spools(folder: Path, into: Path) -> bool:
    """The events of tiers 1 and 2, as their emitters spooled them; whether of several ranks."""
    several = False
    in_order = events_in_order(folder, (1, 2))
    for (attempt, rank), events in groupby(in_order, key=lambda e: (e.attempt, e.rank)):
        path = spool_path(into / f"attempt-{attempt:04d}", rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        several = several or rank > 0
        with path.open("wb") as file:
            file.writelines(encode(event) + b"\n" for event in events)
    return several


def _copy_rows(source: RowLog, target: RowLog) -> int:
    count = offset = 0
    while True:
        rows, end = source.read(offset)
        if end == offset:
            return count
        count += len(target.append(rows))
        offset = end
