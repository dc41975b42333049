"""Per-unit scores as Parquet: what verdicts read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from workloads.contract import Scores


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
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)
    return path


def read_scores(path: Path, split: str, column: str) -> Scores | None:
    """One column of one split; None if the file does not hold it."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if column not in file.schema_arrow.names:
        return None
    table = file.read(columns=["split", "unit", "cluster", column])
    rows = [i for i, name in enumerate(table["split"].to_pylist()) if name == split]
    if not rows:
        return None
    part = table.take(rows)
    return Scores(
        split=split,
        units=part["unit"].to_pylist(),
        clusters=part["cluster"].to_pylist(),
        columns={column: part[column].to_pylist()},
    )
