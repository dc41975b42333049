"""Freeing disk: what may go once a trial is done, and what killed processes have left.

Outcomes, scores, artifacts, rows and measured points never go.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.attempts import Attempt, attempts
from orchestrator.errors import DamagedFileError
from orchestrator.evaluation.points import subject_of
from orchestrator.evaluation.store import stores_of
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.plan_file import NAME as PLAN
from orchestrator.plan_file import read_plan
from orchestrator.records import Outcome
from orchestrator.replaying.rerunning import SCRATCH
from telemetry.filesystem import BusyError, locked
from telemetry.parquet import EVENTS_NAME, LOCK_NAME
from telemetry.rebuilding import REBUILDING
from telemetry.scratch import left_behind


@dataclass(frozen=True)
class Freed:
    """What went (or would go), and how much it was."""

    bytes: int
    paths: tuple[Path, ...]


def collect_garbage(home: str | Path | None = None, *, dry_run: bool = False) -> Freed:
    """Removes checkpoints of finished trials, and what dead processes left half made: attempts,
    replays (those of this host), and archiving.

    A trial that is not done keeps its checkpoints: they are what it continues from. So does one
    whose model is being measured, or had points left when a study that asks for them ran last.
    """
    place = Home.find(home)
    total, removed = 0, []
    if not dry_run:
        _archive_spools(place)
    for path in _garbage(place):
        total += sum(f.lstat().st_size for f in (path, *path.rglob("*")) if f.is_file())
        removed.append(path)
        if not dry_run:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            _tell_index(place, path)
    return Freed(total, tuple(removed))


def _tell_index(home: Home, removed: Path) -> None:
    """What the index knows of a trial counts until the trial's own folder changes."""
    if removed.is_relative_to(home.trials):
        trial = removed.relative_to(home.trials).parts[0]
        with suppress(OSError):
            os.utime(home.trial(trial))


def _archive_spools(home: Home) -> None:
    """Puts events that still stand in spools into Parquet: a driver may have died before that."""
    from telemetry import archive_events

    for identity in home.identities():
        if read_trial(home, identity).state == "done":
            archive_events(home.trial(identity), remove_spools=True)


def _garbage(home: Home) -> Iterator[Path]:
    yield from left_behind(home.root, SCRATCH)
    asked = _asked(home)
    for identity in sorted(home.identities()):
        yield from left_behind(home.trial(identity), REBUILDING)
        yield from _unfinished_archives(home.trial(identity))
        record = read_trial(home, identity)
        if record.state == "running" or identity in asked or _is_measured(home, record.outcome):
            continue
        for attempt in attempts(home.trial(identity)):
            yield from _leavings(attempt, record.outcome)


def _asked(home: Home) -> set[str]:
    """Trials of whose models a study wants points that it had not measured when it ran last."""
    found: set[str] = set()
    for plan in home.studies.glob(f"*/{PLAN}"):
        with suppress(DamagedFileError):  # what it asked for, nobody knows
            found.update(read_plan(plan.parent).asked)
    return found


def _is_measured(home: Home, outcome: Outcome | None) -> bool:
    """Whether points of an outcome's model are being measured, or are left over."""
    if outcome is None:
        return False
    return any(store.is_open or store.is_held for store in stores_of(home, subject_of(outcome)))


def _leavings(attempt: Attempt, outcome: Outcome | None) -> Iterator[Path]:
    checkpoint = attempt.folder / "checkpoint"
    if not checkpoint.is_dir():
        return
    if outcome is not None:
        yield checkpoint
    else:
        yield from sorted(checkpoint.glob(".partial-*"))


def _unfinished_archives(trial_folder: Path) -> Iterator[Path]:
    """Events that were being put into Parquet; whoever does that now holds a lock."""
    found = sorted(trial_folder.glob(f".{EVENTS_NAME}.*.tmp"))
    if found:
        with suppress(BusyError), locked(trial_folder / LOCK_NAME, wait=False):
            yield from found
