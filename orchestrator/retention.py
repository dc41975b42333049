"""Freeing disk: what may go once a trial is done. Outcomes, scores, artifacts and rows never do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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
    return Freed(total, tuple(removed))


def _archive_spools(home: Home) -> None:
    """Puts events that still stand in spools into Parquet: a driver may have died before that."""
    from telemetry import archive_events

    for folder in home.trials.iterdir() if home.trials.is_dir() else ():
        if read_trial(home, folder.name).state == "done":
            archive_events(folder, remove_spools=True)


def _garbage(home: Home) -> Iterator[Path]:
    if not home.trials.is_dir():
        return
    for folder in sorted(home.trials.iterdir()):
        record = read_trial(home, folder.name)
        if record.state == "running":
            continue
        for attempt in attempts(folder):
            yield from _leavings(attempt, record.outcome)


def _leavings(attempt: Attempt, outcome: Outcome | None) -> Iterator[Path]:
    checkpoint = attempt.folder / "checkpoint"
    if not checkpoint.is_dir():
        return
    if outcome is not None:
        yield checkpoint
    else:
        yield from sorted(checkpoint.glob(".partial-*"))
