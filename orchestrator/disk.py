"""What studies take up on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def disk_bytes(study: Study, plan: Plan) -> int:
    """What the study's trials and its own folder take up, in bytes."""
    return trials_bytes(study, plan) + folder_bytes(study.folder)


def trials_bytes(study: Study, plan: Plan) -> int:
    """What the study's trials alone take up: its own folder holds the report, which tells this."""
    there = study.home.identities() & {item.trial.identity for item in plan.trials}
    return sum(_below(f"{study.home.trials}/{identity}") for identity in there)


def folder_bytes(folder: Path) -> int:
    """What the files below a folder take up, in bytes. 0 if it is not there."""
    return _below(str(folder))


def _below(folder: str) -> int:
    """By names, not by `Path`: a study may have tens of thousands of folders."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # a live run moves things
                    continue
                if entry.is_dir(follow_symlinks=False):
                    total += _below(entry.path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return total
    return total
