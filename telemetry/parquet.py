"""All events of a trial, every attempt and rank, in one Parquet file; after that, spools may go.

``<trial>/events.parquet``: zstd, one row group per tier, and more of them only for a tier of over a
million events or 64 MiB of JSON, so that no trial is too long to be archived in little memory. A
row is an event; within a tier they are ordered by attempt, rank and sequence number. `values` holds
the metrics of tier 2 as a map (null: not measured; NaN is NaN); `data` holds every other payload as
JSON, as it stood in the spool.
"""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from telemetry import events
from telemetry.events import Event, Mark, Metrics, Tier
from telemetry.filesystem import locked, sync
from telemetry.fold import TrialFold
from telemetry.spool import SpoolFile, SpoolReader, spools_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

logger = logging.getLogger(__name__)

EVENTS_NAME = "events.parquet"
SCHEMA_VERSION = 1
GROUP_ROWS = 1_000_000
GROUP_BYTES = 64 * 1024 * 1024
"""How many events, and bytes of them in memory, a row group holds at most."""
_BATCH_ROWS = 4096
_READ_BYTES = 1024 * 1024
_FEW = 64
LOCK_NAME = "events.lock"
_TIERS: tuple[Tier, ...] = (1, 2, 3)


def archive_events(trial_folder: Path | str, *, remove_spools: bool = False) -> Path | None:
    """Writes the events of all spools into the trial's Parquet file, beside those it has already.

    The file is replaced in one step, and only if there is something new. With `remove_spools` (for
    a trial that has ended), the spools that were closed in order and are now whole in the file, on
    disk, are removed, after their rows were logged; those of a process that died stay, and so do
    those with a line that this code can't read. Memory does not grow with the number of events.
    Gives the file's path, or None if the trial has no events. Raises `OSError`.
    """
    folder = Path(trial_folder)
    path = folder / EVENTS_NAME
    files = spools_of(folder)
    if not files:
        return path if path.exists() else None
    with locked(folder / LOCK_NAME):
        spools = [_survey(file) for file in files]
        _write(path, spools)
        closed = [spool for spool in spools if spool.closed]
        if remove_spools and closed:
            folded = TrialFold(folder)
            folded.fold_all(ended=True)
            if folded.log.path.exists():
                sync(folded.log.path)
            for spool in closed:
                spool.remove()
    return path


def read_events(path: Path | str) -> Iterator[Event]:
    """The events of a Parquet file that `archive_events` wrote, tier by tier.

    Raises `OSError` for a damaged file, and `ValueError` for one of other columns.
    """
    for tier in _TIERS:
        yield from _archived(Path(path), tier)


def events_in_order(trial_folder: Path | str, tiers: Collection[Tier] = _TIERS) -> Iterator[Event]:
    """Each event of these tiers once, from file and spools, by attempt, rank, sequence number.

    What is there when it is called; a trial may be archived meanwhile. Raises `OSError`.
    """
    folder = Path(trial_folder)
    return _however_archived(folder, [_survey(file) for file in spools_of(folder)], tiers)


# -- spools -----------------------------------------------------------------------------------


@dataclass
class _Spool:
    """What a first look at a spool found; only what was there then is read later."""

    file: SpoolFile
    end: int = 0
    unreadable: int = 0
    closed: bool = False
    """The last event says that its emitter was closed in order."""
    ascending: bool = True
    counts: dict[Tier, int] = field(default_factory=dict)
    few: dict[Tier, list[Event]] = field(default_factory=dict)
    """The first events of each tier: of one that has no more, the spool is not read again."""

    def read(self, tier: Tier) -> Iterator[Event]:
        """Its events of a tier in order."""
        if self.counts.get(tier, 0) <= _FEW:
            found = iter(self.few.get(tier, []))
        else:
            reader = SpoolReader(self.file.path)
            found = (event for event in _batches(reader, self.end) if event.tier == tier)
        return found if self.ascending else iter(sorted(found, key=_place))

    def remove(self) -> None:
        """Removes the spool, unless it holds what is not in the file."""
        if self.file.path.stat().st_size != self.end:
            return
        if self.unreadable:
            logger.warning(
                "%s stays: %d of its lines are no events that this version reads",
                self.file.path,
                self.unreadable,
            )
            return
        self.file.path.unlink(missing_ok=True)


def _survey(file: SpoolFile) -> _Spool:
    spool = _Spool(file)
    reader = SpoolReader(file.path)
    seq = -1
    for event in _batches(reader):
        tier = event.tier
        count = spool.counts[tier] = spool.counts.get(tier, 0) + 1
        if count <= _FEW:
            spool.few.setdefault(tier, []).append(event)
        spool.ascending = spool.ascending and event.seq >= seq
        seq = event.seq
        spool.closed = isinstance(event.payload, Mark) and event.payload.name == "closed"
    spool.end, spool.unreadable = reader.offset, reader.unreadable
    return spool


class _SpoolGoneError(OSError):
    """A spool ended before what was seen of it: it was archived and removed since."""


def _batches(reader: SpoolReader, end: int | None = None) -> Iterator[Event]:
    """Events up to byte `end`, where a line ends, a few at a time."""
    while end is None or reader.offset < end:
        before = reader.offset
        limit = _READ_BYTES if end is None else min(_READ_BYTES, end - before)
        yield from reader.read(limit)
        if reader.offset == before:
            if end is None:
                return
            raise _SpoolGoneError(f"{reader.path} was removed while it was read; read it again")


# -- order ------------------------------------------------------------------------------------


def _place(event: Event) -> tuple[int, int, int]:
    return (event.attempt, event.rank, event.seq)


def _however_archived(
    folder: Path, spools: list[_Spool], tiers: Collection[Tier]
) -> Iterator[Event]:
    """The events in order; where a spool goes meanwhile, they go on from the file it went into."""
    given: tuple[int, int, int] | None = None
    times: set[int] = set()
    while True:
        try:
            for event in _merged(folder / EVENTS_NAME, spools, tiers):
                place = _place(event)
                if given is not None and place < given:
                    continue
                if place != given:
                    given, times = place, set()
                if event.time_ms not in times:
                    times.add(event.time_ms)
                    yield event
            return
        except _SpoolGoneError:
            spools = [_survey(file) for file in spools_of(folder)]


def _merged(path: Path, spools: list[_Spool], tiers: Collection[Tier]) -> Iterator[Event]:
    """The events of file and spools in order. Two are the same if place and time are."""
    sources: list[Iterator[Event]] = []
    for tier in tiers:
        if path.exists():
            sources.append(_archived(path, tier))
        # spools come by attempt, then rank: one behind another they are in order
        sources.append(chain.from_iterable(map(partial(_Spool.read, tier=tier), spools)))
    for _, alike in groupby(heapq.merge(*sources, key=_place), key=_place):
        times = set()
        for event in alike:
            if event.time_ms not in times:
                times.add(event.time_ms)
                yield event


# -- the file ---------------------------------------------------------------------------------


def _archived(path: Path, tier: Tier) -> Iterator[Event]:
    """The events of one tier in a file, a batch at a time."""
    import pyarrow.parquet as pq

    with _told_of_damage(path), pq.ParquetFile(path) as file:
        if (found := file.schema_arrow.names)[:2] != ["v", "tier"]:  # as `_tier_of` reads it
            raise ValueError(
                f"'{path}' does not hold a trial's archived events: its columns are "
                f"{', '.join(found)}. An export is a table: pandas.read_parquet reads it."
            )
        groups = [g for g in range(file.num_row_groups) if _tier_of(file, g) == tier]
        if groups:
            for batch in file.iter_batches(_rows_at_once(file, groups), row_groups=groups):
                for row in batch.to_pylist():
                    yield event_of(row)


def _rows_at_once(file: pq.ParquetFile, groups: list[int]) -> int:
    """So many that they take a few MiB, whether they are numbers or dense traces."""
    about = [file.metadata.row_group(group) for group in groups]
    size, rows = sum(g.total_byte_size for g in about), sum(g.num_rows for g in about)
    return max(1, min(_BATCH_ROWS, int(_READ_BYTES * rows // max(1, size))))


def _tier_of(file: pq.ParquetFile, group: int) -> int:
    statistics = file.metadata.row_group(group).column(1).statistics
    if statistics is not None and statistics.has_min_max:
        return int(statistics.min)
    return int(file.read_row_group(group, columns=["tier"])["tier"][0].as_py())


def _count(path: Path) -> int:
    import pyarrow.parquet as pq

    if not path.exists():
        return -1
    with _told_of_damage(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _told_of_damage(path: Path) -> Iterator[None]:
    """Says of a file that can't be read which it is and what to do. Raises `OSError`."""
    import pyarrow as pa

    try:
        yield
    except (
        pa.ArrowException,
        msgspec.MsgspecError,
        KeyError,
        UnicodeDecodeError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"'{path}' is damaged ({what}). Put a copy of it back, or move it away: then events "
            "that are still in spools are archived again, and the others are lost."
        ) from error


def _write(path: Path, spools: list[_Spool]) -> None:
    """Replaces the file by one with the events of file and spools, unless they are the same."""
    import pyarrow.parquet as pq

    unreadable = sum(spool.unreadable for spool in spools)
    schema = event_schema().with_metadata(
        {"orrery.events": str(SCHEMA_VERSION), "orrery.unreadable_lines": str(unreadable)}
    )
    before, written = _count(path), 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for tier in _TIERS:
                found = map(event_row, _merged(path, spools, (tier,)))
                for group in _groups(found, schema):
                    written += group.num_rows
                    writer.write_table(group, row_group_size=group.num_rows)
        if written != before:
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _groups(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Rows as tables, each a row group."""
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    for batch in record_batches(rows, schema):
        batches.append(batch)
        full = sum(each.num_rows for each in batches) + _BATCH_ROWS > GROUP_ROWS
        if full or sum(each.nbytes for each in batches) > GROUP_BYTES:
            yield pa.Table.from_batches(batches, schema)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches, schema)


def record_batches(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows as batches of a bounded number of rows, and of bytes in `data`."""
    import pyarrow as pa

    waiting: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row.get("data") or ())
        if len(waiting) == _BATCH_ROWS or size > GROUP_BYTES // 8:
            yield pa.RecordBatch.from_pylist(waiting, schema)
            waiting, size = [], 0
    if waiting:
        yield pa.RecordBatch.from_pylist(waiting, schema)


def event_schema() -> pa.Schema:
    """The columns of the file."""
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


def event_row(event: Event) -> dict[str, Any]:
    """An event as a row of the file: column -> value."""
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


def event_of(row: dict[str, Any]) -> Event:
    """The event of a row."""
    payload: events.Payload
    if row["values"] is not None:
        payload = Metrics(dict(row["values"]))
    else:
        payload = _payload_decoder.decode(row["data"])
    return Event(
        row["v"], row["trial"], row["attempt"], row["rank"], row["seq"], row["time_ms"], payload,
        row["step"], row["epoch"],
    )  # fmt: skip
