"""Measured points as rows, and rows as Parquet: a file holds a batch with its examples' ids."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import DamagedFileError
from orchestrator.evaluation.points import canonical_point
from orchestrator.identity import canonical_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from workloads.evaluation import Point

PART_VERSION = 1
_META = b"orrery.points"
_VALUE = "value/"
_NOTE = "note"
_PLAIN = ("point", "error", "at_s", "code")


@dataclass(frozen=True)
class Examples:
    """What the scores of a subject's points are of: `score_metric` by example.

    Two batches with other examples are never put together.
    """

    score_metric: str
    units: tuple[str, ...]
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class PointRow:
    """What one point came to. `scores` [units], None where there are none; with an `error` the
    rest is empty. `code` is the digest of the sources that measured it, `note` a text of theirs."""

    point: str
    values: Mapping[str, float | None]
    scores: NDArray[np.float32] | None
    error: str | None
    at_s: float
    code: str
    note: str | None = None


@dataclass(frozen=True)
class Batch:
    """Rows that are written together; `asked` gives each point as it was asked."""

    examples: Examples
    asked: Sequence[Point]
    rows: Sequence[PointRow]


def encoded(batch: Batch) -> bytes:
    """A batch as the content of a Parquet file."""
    import pyarrow as pa

    rows, units = batch.rows, len(batch.examples.units)
    names = sorted({name for row in rows for name in row.values})
    columns: dict[str, Any] = {
        "point": pa.array([row.point for row in rows], pa.string()),
        "asked": pa.array([canonical_json(canonical_point(p)) for p in batch.asked], pa.string()),
        "error": pa.array([row.error for row in rows], pa.string()),
        "at_s": pa.array([row.at_s for row in rows], pa.float64()),
        "code": pa.array([row.code for row in rows], pa.string()),
    }
    if any(row.note is not None for row in rows):  # files without one have no such column
        columns[_NOTE] = pa.array([row.note for row in rows], pa.string())
    for name in names:
        columns[_VALUE + name] = pa.array([row.values.get(name) for row in rows], pa.float64())
    columns["scored"] = pa.array([row.scores is not None for row in rows], pa.bool_())
    if units:
        columns["scores"] = _scores_column(rows, units)
    table = pa.table(columns).replace_schema_metadata({_META: _meta(batch.examples)})
    return written([table])


def written(tables: Sequence[pa.Table]) -> bytes:
    """Tables of one schema as the content of one Parquet file, a row group each."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, tables[0].schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    return buffer.getvalue()


def _scores_column(rows: Sequence[PointRow], units: int) -> pa.Array:
    """NaN where there are none: Parquet's reader takes no null among lists of one length."""
    import numpy as np
    import pyarrow as pa

    flat = np.full((len(rows), units), np.nan, dtype=np.float32)
    for index, row in enumerate(rows):
        if row.scores is not None:
            flat[index] = row.scores
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), units)


def _meta(examples: Examples) -> bytes:
    content = {
        "version": PART_VERSION,
        "score_metric": examples.score_metric,
        "units": list(examples.units),
        "clusters": list(examples.clusters),
    }
    return json.dumps(content, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Part:
    """A file of measured points, as anybody may read it."""

    path: Path

    def examples(self) -> Examples:
        """Raises `FileNotFoundError`, `DamagedFileError`."""
        with self._opened() as file:
            return _examples(file.schema_arrow, self.path)

    def heads(self) -> tuple[Examples, list[tuple[str, bool, float, str]]]:
        """(point, failed, at_s, code) of each row, without values and scores. Raises as above."""
        with self._opened() as file:
            table = self._read(file, list(_PLAIN))
            examples = _examples(file.schema_arrow, self.path)
        failed = [error is not None for error in table["error"].to_pylist()]
        at_s, code = (table[name].to_pylist() for name in ("at_s", "code"))
        return examples, list(zip(table["point"].to_pylist(), failed, at_s, code, strict=True))

    def rows(self, wanted: set[str]) -> Iterator[PointRow]:
        """The rows of these points. Raises as above."""
        for table in self.tables():
            points = table["point"].to_pylist()
            if not wanted.isdisjoint(points):
                yield from _rows(table, points, wanted)

    def tables(self) -> list[pa.Table]:
        """Whole, a table for each row group. Raises as above."""
        with self._opened() as file:
            return [self._read(file, None, group) for group in range(file.num_row_groups)]

    def _opened(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _read(self, file: Any, columns: list[str] | None, group: int | None = None) -> pa.Table:
        import pyarrow as pa

        try:
            if group is not None:
                return file.read_row_group(group, columns=columns)
            table = file.read(columns=columns)
            if columns is not None and table.column_names != columns:
                raise ValueError("columns are missing")
            return table
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> Exception:
        """A file that another process has put together with others is gone, and not damaged."""
        if not self.path.exists():
            return FileNotFoundError(str(self.path))
        return _damaged(self.path, error)


def _rows(table: pa.Table, points: list[str], wanted: set[str]) -> Iterator[PointRow]:
    import numpy as np

    names = [name for name in table.column_names if name.startswith(_VALUE)]
    values = {name.removeprefix(_VALUE): table[name].to_pylist() for name in names}
    errors, at_s, code, scored = (
        table[name].to_pylist() for name in ("error", "at_s", "code", "scored")
    )
    noted = _NOTE in table.column_names
    notes = table[_NOTE].to_pylist() if noted else [None] * len(points)
    scores = None
    if "scores" in table.column_names:
        column = table["scores"].combine_chunks()
        scores = np.asarray(column.flatten()).reshape(len(points), column.type.list_size)
    for index, point in enumerate(points):
        if point in wanted:
            yield PointRow(
                point,
                {name: column[index] for name, column in values.items()},
                scores[index] if scores is not None and scored[index] else None,
                errors[index],
                at_s[index],
                code[index],
                notes[index],
            )


def _examples(schema: Any, path: Path) -> Examples:
    try:
        meta = json.loads(schema.metadata[_META])
        if meta["version"] != PART_VERSION:
            raise ValueError(f"version {meta['version']} is newer than this Orrery")
        return Examples(meta["score_metric"], tuple(meta["units"]), tuple(meta["clusters"]))
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> DamagedFileError:
    why = " ".join(str(error).split()) or type(error).__name__
    return DamagedFileError(
        f"'{path}' cannot be read ({why}). Its points count as not measured: move the file away, "
        "and run the study again."
    )
