"""Makes the row log of a trial anew from its events, when the log is lost and spools are archived.

The events go back into spools, in a folder that is removed afterwards, and through `fold` like any
others: so rows come out as they were, with values, steps and times. A step that was once given
without a silent rank is now reduced over all ranks that did report.
"""

from __future__ import annotations

import os
import tempfile
from itertools import groupby
from pathlib import Path

from telemetry.events import encode
from telemetry.filesystem import locked
from telemetry.fold import TrialFold
from telemetry.parquet import events_in_order
from telemetry.rowlog import LOCK_NAME, RowLog
from telemetry.spool import spool_path


def rebuild_rows(trial_folder: Path | str) -> int:
    """Logs the rows of all events in ``events.parquet`` and the spools; those logged before stay.

    For a trial that has ended: nothing waits for a rank. A log that was gone is there whole or not
    at all. Gives how many rows were new. Takes as much disk as the spools took, and raises
    `OSError` if there is none.
    """
    folder = Path(trial_folder)
    with tempfile.TemporaryDirectory(prefix=".rebuild-", dir=folder) as temporary:
        _write_spools(folder, Path(temporary))
        count = TrialFold(temporary).fold_all(ended=True)
        made, log = RowLog(Path(temporary)), RowLog(folder)
        with locked(folder / LOCK_NAME):
            if count and not log.path.exists():
                os.replace(made.path, log.path)
                return count
        return _copy_rows(made, log)


def _write_spools(folder: Path, into: Path) -> None:
    """The events of tiers 1 and 2, as their emitters spooled them."""
    in_order = events_in_order(folder, (1, 2))
    for (attempt, rank), events in groupby(in_order, key=lambda e: (e.attempt, e.rank)):
        path = spool_path(into / f"attempt-{attempt:04d}", rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(encode(event) + b"\n" for event in events)


def _copy_rows(source: RowLog, target: RowLog) -> int:
    count = offset = 0
    while True:
        rows, end = source.read(offset)
        if end == offset:
            return count
        count += len(target.append(rows))
        offset = end
