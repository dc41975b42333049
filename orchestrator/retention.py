"""Freeing disk: what may go once a trial is done. Outcomes, scores, artifacts and rows never do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.attempts import Attempt, attempts
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.records import Outcome


@dataclass(frozen=True)
class Freed:
    """What went (or would go), and how much it was."""

    bytes: int
    paths: tuple[Path, ...]


def collect_garbage(home: str | Path | None = None, *, dry_run: bool = False) -> Freed:
    """Removes checkpoints of finished trials, and what dead attempts left half made.

    A trial that is not done keeps its checkpoints: they are what it continues from.
    """
    place = Home.find(home)
    total, removed = 0, []
    if not dry_run:
        _archive_spools(place)
    for path in _garbage(place):
        total += sum(f.lstat().st_size for f in path.rglob("*") if f.is_file())
        removed.append(path)
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
            _tell_index(place, path)
    return Freed(total, tuple(removed))


def _tell_index(home: Home, removed: Path) -> None:
    """What the index knows of a trial counts until the trial's own folder changes."""
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
    for identity in sorted(home.identities()):
        record = read_trial(home, identity)
        if record.state == "running":
            continue
        for attempt in attempts(home.trial(identity)):
            yield from _leavings(attempt, record.outcome)


def _leavings(attempt: Attempt, outcome: Outcome | None) -> Iterator[Path]:
    checkpoint = attempt.folder / "checkpoint"
    if not checkpoint.is_dir():
        return
    if outcome is not None:
        yield checkpoint
    else:
        yield from sorted(checkpoint.glob(".partial-*"))
