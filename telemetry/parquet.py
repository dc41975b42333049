"""All events of a trial, every attempt and rank, in one Parquet file; after that, spools may go.

``<trial>/events.parquet``: zstd, one row group per tier. A row is an event. `values` holds the
metrics of tier 2 as a map (null: not measured; NaN is NaN); `data` holds every other payload as
JSON, as it stood in the spool.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from telemetry import events
from telemetry.events import Event, Metrics
from telemetry.filesystem import locked
from telemetry.fold import TrialFold
from telemetry.spool import SpoolReader, spools_of

if TYPE_CHECKING:
    import pyarrow as pa

EVENTS_NAME = "events.parquet"
SCHEMA_VERSION = 1
_LOCK_NAME = "events.lock"


def archive_events(trial_folder: Path | str, *, remove_spools: bool = False) -> Path | None:
    """Writes the events of all spools into the trial's Parquet file, beside those it has already.

    The file is replaced in one step, and only if there is something new. With `remove_spools` (for
    a trial that has ended), the spools that were closed in order and are now in the file are
    removed, after their rows were logged; those of a process that died stay. Gives the file's
    path, or None if the trial has no events. Raises `OSError`.
    """
    folder = Path(trial_folder)
    path = folder / EVENTS_NAME
    spools = spools_of(folder)
    if not spools:
        return path if path.exists() else None
    with locked(folder / _LOCK_NAME):
        readers = [SpoolReader(spool.path) for spool in spools]
        known = {_key(event): event for event in read_events(path)} if path.exists() else {}
        before = len(known)
        closed = []
        for reader in readers:
            last: Event | None = None
            while batch := list(reader.read()):
                for last in batch:
                    known.setdefault(_key(last), last)
            if last is not None and getattr(last.payload, "name", None) == "closed":
                closed.append(reader)
        if len(known) > before or not path.exists():
            unreadable = sum(reader.unreadable for reader in readers)
            _write(path, sorted(known.values(), key=_order), unreadable)
        if remove_spools and closed:
            TrialFold(folder).fold_all(ended=True)
            for reader in closed:
                if reader.behind() == 0:
                    reader.path.unlink(missing_ok=True)
    return path


def read_events(path: Path | str) -> Iterator[Event]:
    """The events of a Parquet file that `archive_events` wrote, tier by tier."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                yield _event(row)


def _key(event: Event) -> tuple[int, int, int, int]:
    return (event.attempt, event.rank, event.seq, event.time_ms)


def _order(event: Event) -> tuple[int, int, int, int]:
    return (event.tier, *_key(event)[:3])


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("v", pa.int16()),
            ("tier", pa.int8()),
            ("kind", pa.string()),
            ("trial", pa.string()),
            ("attempt", pa.int32()),
            ("rank", pa.int32()),
            ("seq", pa.int64()),
            ("time_ms", pa.int64()),
            ("step", pa.int64()),
            ("epoch", pa.float64()),
            ("name", pa.string()),
            ("reason", pa.string()),
            ("values", pa.map_(pa.string(), pa.float64())),
            ("data", pa.string()),
        ]
    )


def _row(event: Event) -> dict[str, Any]:
    payload = event.payload
    metrics = isinstance(payload, Metrics)
    return {
        "v": event.v,
        "tier": event.tier,
        "kind": event.kind,
        "trial": event.trial,
        "attempt": event.attempt,
        "rank": event.rank,
        "seq": event.seq,
        "time_ms": event.time_ms,
        "step": event.step,
        "epoch": event.epoch,
        "name": getattr(payload, "name", None),
        "reason": getattr(payload, "reason", None),
        "values": list(payload.values.items()) if isinstance(payload, Metrics) else None,
        "data": None if metrics else _payload_json(event),
    }


def _payload_json(event: Event) -> str:
    return msgspec.json.encode(event.payload).decode()


_payload_decoder = msgspec.json.Decoder(events.Payload)


def _event(row: dict[str, Any]) -> Event:
    payload: events.Payload
    if row["values"] is not None:
        payload = Metrics(dict(row["values"]))
    else:
        payload = _payload_decoder.decode(row["data"])
    return Event(
        row["v"], row["trial"], row["attempt"], row["rank"], row["seq"], row["time_ms"], payload,
        row["step"], row["epoch"],
    )  # fmt: skip


def _write(path: Path, ordered: list[Event], unreadable: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema().with_metadata(
        {"orrery.events": str(SCHEMA_VERSION), "orrery.unreadable_lines": str(unreadable)}
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for tier in (1, 2, 3):
                rows = [_row(event) for event in ordered if event.tier == tier]
                if rows:
                    table = pa.Table.from_pylist(rows, schema=schema)
                    writer.write_table(table, row_group_size=len(rows))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
