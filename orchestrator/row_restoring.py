"""The row log of a trial, checked against its events; a damaged one is made anew from them."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.attempts import outcomes
from orchestrator.errors import OrreryError
from orchestrator.home import Home
from orchestrator.ledger import TrialRecord, read_trial
from orchestrator.publishing import end_of
from telemetry import RowLog, rebuild_rows
from telemetry.events import values_of
from telemetry.parquet import EVENTS_NAME, events_in_order
from telemetry.publication import summary_rows
from telemetry.rowlog import ROWS_NAME
from telemetry.spool import spools_of
from telemetry.steps import PublishedSteps

_SUMMARIES = ("final/", "best/")


class RowsLostError(OrreryError):
    """Rows of a trial are gone, and so are the events that would give them again."""


def restore_rows(home: Home, identity: str) -> str | None:
    """Makes the row log whole again, if the trial has ended; earlier outcomes' final rows too.

    Those are looked for each time: the log may have been made anew by a run, which knows the last
    outcome only, or by a process that died before it came to them. Gives what was mended, in
    words; None if nothing was. Raises `RowsLostError`, another `OrreryError` or `OSError` if rows
    are missing that can't be had.
    """
    folder = home.trial(identity)
    record = read_trial(home, identity)
    if record.state in ("planned", "running"):
        return None
    archived = (folder / EVENTS_NAME).exists()
    there, unreadable = _logged(folder)
    if not archived and not spools_of(folder):
        _refuse_loss(record, there, unreadable)
        return None
    mended = None
    if unreadable or (archived and (folder / ROWS_NAME).exists() and _lacks(folder, there)):
        mended = _mend(folder, unreadable)
    elif archived and not (folder / ROWS_NAME).exists():
        rebuild_rows(folder)
    ends = [
        end_of(folder, TrialRecord(folder.name, "done", outcome=outcome), "done")
        for outcome in outcomes(folder)
    ]
    if archived and len(ends) > 1:
        RowLog(folder).append(row for end in ends if end is not None for row in summary_rows(end))
    return mended


def _logged(folder: Path) -> tuple[PublishedSteps, int]:
    """Which rows of training the log has, and how many lines of it can't be read."""
    log, found, offset = RowLog(folder), PublishedSteps(), 0
    while True:
        rows, end = log.read(offset)
        if end == offset:
            return found, log.unreadable
        for row in rows:
            if not row.key.startswith(_SUMMARIES):
                found.add(row.key, row.step)
        offset = end


def _lacks(folder: Path, there: PublishedSteps) -> bool:
    """Whether a value that the archived events hold has no row. One in a spool is yet to be."""
    spooled = {(spool.attempt, spool.rank) for spool in spools_of(folder)}
    for event in events_in_order(folder, (1, 2)):
        measured = values_of(event.payload)
        if measured is None or event.step is None or (event.attempt, event.rank) in spooled:
            continue
        for key, value in measured.items():
            if value is not None and (key, event.step) not in there:
                return True
    return False


def _mend(folder: Path, unreadable: int) -> str:
    """The log anew from events, with the rows that only the damaged one had."""
    log, number = folder / ROWS_NAME, 1
    while (aside := folder / f"{ROWS_NAME}.damaged-{number}").exists():
        number += 1
    os.replace(log, aside)
    try:
        rebuild_rows(folder)
    except BaseException:
        if not log.exists():
            os.replace(aside, log)
        raise
    damaged, whole, offset = RowLog(folder), RowLog(folder), 0
    damaged.path = aside
    while True:
        rows, end = damaged.read(offset)
        if end == offset:
            break
        whole.append(rows)
        offset = end
    why = f"{unreadable} lines could not be read" if unreadable else "it lacked rows"
    return f"its {ROWS_NAME} was made anew from events ({why}; the old one is {aside.name})"


def _refuse_loss(record: TrialRecord, there: PublishedSteps, unreadable: int) -> None:
    if unreadable:
        raise RowsLostError(
            f"{unreadable} lines of its {ROWS_NAME} cannot be read, and its events are gone"
        )
    if record.state == "done" and not len(there):
        raise RowsLostError(f"its {ROWS_NAME} and its events are gone; only its outcome is kept")
