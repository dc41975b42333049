"""Metric rows as Parquet, one file per trial.

Parquet can't be appended to. So rows are kept as lines in a hidden file beside until the trial
ends, or until they are as many as the Parquet file has: then it is written anew, with all rows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from telemetry.sinks.folder_sink import FolderSink, RowStore, RunRow
from telemetry.sinks.jsonl_sink import LineFile
from telemetry.steps import PublishedSteps

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_ROWS = 1000
"""So many rows wait at most until a running trial's Parquet file is written for the first time."""


class ParquetSink(FolderSink):
    """Writes below `folder`: rows to ``metrics/<study>/<trial>.parquet`` (zstd), runs as JSON.

    Columns: ``study, trial, arm, replicate, key, step, time_ms, value, attempt, ranks``, sorted by
    key and step. While a trial runs its file may lack the newest rows; once it ends it has all.
    """

    scheme: ClassVar[str] = "parquet"

    def row_store(self, path: Path) -> RowStore:
        """The rows as a Parquet file, with a file of lines that wait."""
        return _ParquetRows(path)


class _WaitingLines(LineFile):
    """Rows that are not in the Parquet file yet; `published` are those that are."""

    def __init__(self, path: Path, published: PublishedSteps) -> None:
        super().__init__(path)
        self._published = published

    def rows(self) -> list[RunRow]:
        """Every row that waits."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().splitlines():
            with suppress(msgspec.MsgspecError, ValueError):  # torn by a death: it comes again
                found.append(msgspec.json.decode(line, type=RunRow))
        return found


class _ParquetRows:
    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.parquet")
        self._waiting_path = path.with_name(f".{path.name}.waiting.jsonl")
        self._stamp: tuple[int, int] | None = None
        self._open()

    def append(self, rows: Sequence[RunRow]) -> None:
        if self._stamp_now() != self._stamp:  # another process wrote it
            self._open()
        if rows:
            self._count += len(self._waiting.append(rows))
        if self._count - self._written >= max(LEAST_ROWS, self._written):
            self._write()

    def settle(self) -> None:
        if self._waiting_path.exists() or not self._path.exists():
            self._write()

    def gone(self) -> bool:
        removed = self._written > 0 and not self._path.exists()
        if removed:
            self._waiting_path.unlink(missing_ok=True)
        return removed or (self._stamp_now() == self._stamp and self._waiting.gone())

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size

    def _open(self) -> None:
        import pyarrow.parquet as pq

        published = PublishedSteps()
        self._stamp = self._stamp_now()
        if self._stamp is not None:
            table = pq.read_table(self._path, columns=["key", "step"])
            for key, step in zip(*(column.to_pylist() for column in table.columns), strict=True):
                published.add(key, step)
        self._written = len(published)
        self._waiting = _WaitingLines(self._waiting_path, published)
        self._waiting.catch_up()
        self._count = len(published)

    def _write(self) -> None:
        """Parquet file and waiting rows become one file; the first row of a (key, step) stays."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = [pq.read_table(self._path)] if self._path.exists() else []
        there = tables[0].select(["key", "step"]).to_pylist() if tables else []
        known = {(row["key"], row["step"]) for row in there}
        fresh = []
        for row in self._waiting.rows():
            if (row.key, row.step) not in known:
                known.add((row.key, row.step))
                fresh.append(msgspec.to_builtins(row))
        tables.append(pa.Table.from_pylist(fresh, schema=_schema()))
        whole = pa.concat_tables(tables).sort_by([("key", "ascending"), ("step", "ascending")])
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            pq.write_table(whole, temporary, compression="zstd")
            os.replace(temporary, self._path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._waiting_path.unlink(missing_ok=True)
        self._open()


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            ("study", text),
            ("trial", text),
            ("arm", text),
            ("replicate", pa.int32()),
            ("key", text),
            ("step", whole),
            ("time_ms", whole),
            ("value", pa.float64()),
            ("attempt", pa.int32()),
            ("ranks", pa.int32()),
        ]
    )
