"""Events of many trials as one stream: Parquet, JSON lines, or metrics in long form.

Events come from a trial's Parquet file and from the spools that are not archived yet, each once,
by attempt, rank and sequence number, in bounded memory. The columns are those of
``docs/events.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from telemetry import nonfinite, parquet
from telemetry.events import Tier, encode, values_of
from telemetry.parquet import events_in_order

if TYPE_CHECKING:
    import pyarrow as pa

TIERS: tuple[Tier, ...] = (1, 2, 3)
_METRICS: tuple[Tier, ...] = (2,)
GROUP_ROWS = 65536

Count = Callable[[int], object]
"""Told how many rows were just written."""


@dataclass(frozen=True)
class ExportTrial:
    """A trial's folder, and what its rows are labelled with."""

    folder: Path
    study: str | None = None
    arm: str | None = None
    replicate: int | None = None
    seed: int | None = None

    @property
    def labels(self) -> dict[str, str | int | None]:
        return {
            "study": self.study,
            "arm": self.arm,
            "replicate": self.replicate,
            "seed": self.seed,
        }


def write_parquet(
    trials: Iterable[ExportTrial], file: IO[bytes], tiers: Collection[Tier], told: Count
) -> int:
    """Events with their labels, a row each; gives how many. Raises `OSError`."""
    schema = parquet.event_schema()
    with _parquet_writer(file, export_schema()) as write:
        for trial in trials:
            rows = (parquet.event_row(event) for event in events_in_order(trial.folder, tiers))
            _write_rows(rows, schema, write, trial, told)
        return write.rows


def write_flat_parquet(trials: Iterable[ExportTrial], file: IO[bytes], told: Count) -> int:
    """Metrics in long form, a row for each value of each rank; gives how many."""
    schema = flat_schema()
    with _parquet_writer(file, schema) as write:
        for trial in trials:
            _write_rows(flat_rows(trial), schema, write, trial, told)
        return write.rows


def write_jsonl(
    trials: Iterable[ExportTrial], file: IO[bytes], tiers: Collection[Tier], told: Count
) -> int:
    """Events as they stand in a spool, one a line, with their labels before them."""
    count = 0
    for trial in trials:
        labels = msgspec.json.encode(trial.labels)[:-1] + b","
        for event in events_in_order(trial.folder, tiers):
            file.write(labels + encode(event)[1:] + b"\n")
            told(1)
            count += 1
    return count


def write_flat_jsonl(trials: Iterable[ExportTrial], file: IO[bytes], told: Count) -> int:
    """As `write_flat_parquet`; a value that JSON can't hold is the text nan, inf or -inf."""
    count = 0
    for trial in trials:
        for row in flat_rows(trial):
            value = row["value"]
            if value is not None and not math.isfinite(value):
                row["value"] = nonfinite.name_of(value)
            file.write(msgspec.json.encode(row) + b"\n")
            told(1)
            count += 1
    return count


def flat_rows(trial: ExportTrial) -> Iterator[dict[str, Any]]:
    """What each rank measured, by key and step; None is "not measured"."""
    for event in events_in_order(trial.folder, _METRICS):
        for key, value in (values_of(event.payload) or {}).items():
            yield {
                **trial.labels,
                "trial": event.trial,
                "attempt": event.attempt,
                "rank": event.rank,
                "key": key,
                "step": event.step,
                "epoch": event.epoch,
                "time_ms": event.time_ms,
                "value": value,
            }


def export_schema() -> pa.Schema:
    """The columns of an export of events."""
    return _labelled_schema(parquet.event_schema())


def flat_schema() -> pa.Schema:
    """The columns of the long form."""
    import pyarrow as pa

    return _labelled_schema(
        pa.schema(
            [
                ("trial", pa.string()),
                ("attempt", pa.int32()),
                ("rank", pa.int32()),
                ("key", pa.string()),
                ("step", pa.int64()),
                ("epoch", pa.float64()),
                ("time_ms", pa.int64()),
                ("value", pa.float64()),
            ]
        )
    )


def _labelled_schema(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    labels = [
        ("study", pa.string()),
        ("arm", pa.string()),
        ("replicate", pa.int32()),
        ("seed", pa.int64()),
    ]
    return pa.schema([pa.field(*label) for label in labels] + list(schema))


# -- writing --------------------------------------------------------------------------------------


class _Write:
    """Gathers batches into row groups, so that many small trials don't make many small groups.

    A group has about `GROUP_ROWS` rows, or fewer that take `parquet.GROUP_BYTES` in memory.
    """

    def __init__(self, writer: Any, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self.rows = 0

    def __call__(self, batch: pa.RecordBatch, labels: Mapping[str, str | int | None]) -> int:
        import pyarrow as pa

        count = int(batch.num_rows)
        if count:
            columns = [self._column(batch, field, labels) for field in self._schema]
            self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
            self._waiting_rows += count
            self._waiting_bytes += int(batch.nbytes)
            self.rows += count
        if self._waiting_rows >= GROUP_ROWS or self._waiting_bytes >= parquet.GROUP_BYTES:
            self.flush()
        return count

    def flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting, schema=self._schema)
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def _column(
        self, batch: pa.RecordBatch, field: pa.Field, labels: Mapping[str, str | int | None]
    ) -> pa.Array:
        import pyarrow as pa

        if field.name in batch.schema.names:
            return batch[field.name].cast(field.type)
        label = labels.get(field.name)
        if label is None:  # or a column that an older archive has not
            return pa.nulls(batch.num_rows, field.type)
        return pa.repeat(pa.scalar(label, field.type), batch.num_rows)


def _write_rows(
    rows: Iterator[dict[str, Any]],
    schema: pa.Schema,
    write: _Write,
    trial: ExportTrial,
    told: Count,
) -> None:
    for batch in parquet.record_batches(rows, schema):
        told(write(batch, trial.labels))


@contextmanager
def _parquet_writer(file: IO[bytes], schema: pa.Schema) -> Iterator[_Write]:
    import pyarrow.parquet as pq

    named = schema.with_metadata({"orrery.events": str(parquet.SCHEMA_VERSION)})
    with pq.ParquetWriter(file, named, compression="zstd") as writer:
        write = _Write(writer, schema)
        yield write
        write.flush()
