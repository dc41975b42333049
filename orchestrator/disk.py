"""What studies take up on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def disk_bytes(study: Study, plan: Plan) -> int:
    """What the study's trials and its own folder take up, in bytes."""
    folders = {study.home.trial(item.trial.identity) for item in plan.trials} | {study.folder}
    return sum(folder_bytes(folder) for folder in folders)


def folder_bytes(folder: Path) -> int:
    """What the files below a folder take up, in bytes."""
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:  # a live run moves things
            continue
        total += status.st_size
    return total
