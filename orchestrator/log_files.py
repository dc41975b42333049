"""Where what processes print is kept: a file per rank of each attempt, and a study's driver's."""

from __future__ import annotations

from pathlib import Path

DRIVER_LOG = "driver.log"


def log_path(attempt_folder: Path, rank: int = 0) -> Path:
    """What one rank of an attempt has printed: standard output and standard error, as they came."""
    return attempt_folder / "log" / f"rank-{rank:04d}.txt"


def earlier_part(path: Path) -> Path:
    """What a log held before it was begun anew, where it had grown too long."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def driver_log(study_folder: Path) -> Path:
    """What a detached driver says."""
    return study_folder / DRIVER_LOG


def logged_ranks(attempt_folder: Path) -> list[int]:
    """Ranks of an attempt that have a log, in order."""
    found = (attempt_folder / "log").glob("rank-[0-9][0-9][0-9][0-9].txt")
    return sorted(int(path.stem.removeprefix("rank-")) for path in found)
