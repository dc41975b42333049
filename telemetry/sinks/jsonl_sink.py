"""Metric rows as JSON lines, one file per trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from telemetry.rowlog import RowLog
from telemetry.sinks.folder_sink import FolderSink, RowStore, RunRow


class JsonlSink(FolderSink):
    """Writes below `folder`: rows to ``metrics/<study>/<trial>.jsonl``, runs as JSON.

    A line is a row: ``key, step, time_ms, value, attempt, ranks, nonfinite, study, trial, arm,
    replicate``. JSON has no NaN and no infinities: `value` is null then and `nonfinite` names it.
    """

    scheme: ClassVar[str] = "jsonl"

    def row_store(self, path: Path) -> RowStore:
        """The rows as JSON lines."""
        return _Lines(path.with_name(f"{path.name}.jsonl"))


class LineFile(RowLog):
    """A row log under a name of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self.path = path
        self._lock_path = path.with_name(".lock")

    def gone(self) -> bool:
        """Whether lines that were read or written have been removed since."""
        return self._known_bytes > 0 and (
            not self.path.exists() or self.path.stat().st_size < self._known_bytes
        )


class _Lines:
    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def append(self, rows: Sequence[RunRow]) -> None:
        self._file.append(rows)

    def settle(self) -> None:
        """Lines last as they are."""

    def gone(self) -> bool:
        return self._file.gone()
