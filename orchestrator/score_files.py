"""Per-unit scores as Parquet: what verdicts read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import DamagedFileError
from workloads.contract import Scores

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile


def write_scores(scores: Sequence[Scores], path: Path) -> Path | None:
    """One row per split × unit: `split, unit, cluster` and a column per score. None if empty."""
    if not scores:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [
        pa.table(
            {
                "split": pa.array([part.split] * len(part.units), pa.string()),
                "unit": pa.array(part.units, pa.string()),
                "cluster": pa.array(part.clusters, pa.string()),
                **{name: pa.array(column, pa.float64()) for name, column in part.columns.items()},
            }
        )
        for part in scores
    ]
    table = pa.concat_tables(tables, promote_options="default")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())  # the outcome that names it is durable too
    temporary.replace(path)
    return path


def scores_digest(content: bytes) -> str:
    """What an outcome keeps of its file, so that another content does not pass for it."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def why_unreadable(path: Path, digest: str | None = None) -> str:
    """What is wrong with a file of scores; empty if nothing is."""
    try:
        _opened(path, digest)
    except DamagedFileError as error:
        return str(error).removeprefix(f"'{path}' ").removesuffix(".")
    return ""


def read_scores(
    path: Path, split: str, column: str, most: int | None = None, digest: str | None = None
) -> Scores | None:
    """One column of one split, at most so many units of it; None if the file does not hold it.

    Raises `DamagedFileError` for a file that is gone, is no Parquet, whose content cannot be read,
    or is not that of `digest`.
    """
    found = read_columns(path, split, [column], most, digest)
    return found if found is not None and found.columns else None


def read_columns(
    path: Path,
    split: str,
    columns: Sequence[str],
    most: int | None = None,
    digest: str | None = None,
) -> Scores | None:
    """Those of these columns that the file has, of one split; None if it does not hold the split.

    Raises as `read_scores` does.
    """
    import pyarrow as pa

    file = _opened(path, digest)
    try:
        there = [name for name in dict.fromkeys(columns) if name in file.schema_arrow.names]
        table = file.read(columns=["split", "unit", "cluster", *there])
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    rows = [i for i, name in enumerate(table["split"].to_pylist()) if name == split]
    if not rows:
        return None
    part = table.take(rows[:most])
    return Scores(
        split=split,
        units=part["unit"].to_pylist(),
        clusters=part["cluster"].to_pylist(),
        columns={name: part[name].to_pylist() for name in there},
    )


def read_table(path: Path, digest: str | None = None) -> pa.Table:
    """All that a file of scores holds. Raises as `read_scores` does."""
    import pyarrow as pa

    file = _opened(path, digest)
    try:
        return file.read()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _opened(path: Path, digest: str | None) -> ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        file = pq.ParquetFile(pa.BufferReader(content))
    except FileNotFoundError as error:
        raise DamagedFileError(f"'{path}' is gone.") from error
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    if digest is not None and scores_digest(content) != digest:
        raise DamagedFileError(f"'{path}' is not what its trial wrote.")
    return file


def _damaged(path: Path, error: Exception) -> DamagedFileError:
    return DamagedFileError(f"'{path}' cannot be read ({' '.join(str(error).split())}).")
