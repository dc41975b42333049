"""The row log: every metric row of a trial, written down before any sink sees it.

``<trial>/rows.jsonl``, one row a line, append-only. A sink's key is (key, timestamp, step, value),
so the same row sent again is free and any other digit would double it: rows are therefore reduced
once, logged, and resent verbatim. Which (key, step) exist follows from this log alone.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from telemetry import nonfinite
from telemetry.filesystem import locked, replace, write_all
from telemetry.steps import PublishedSteps

ROWS_NAME = "rows.jsonl"
LOCK_NAME = "rows.lock"
ANEW_NAME = "rows.anew"
"""Holds `RowLog.generation` of a log that was begun again."""
CHUNK_BYTES = 4 * 1024 * 1024


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One metric value at a step, reduced over the ranks that reported it.

    `time_ms` is the event time of rank 0 (of the lowest rank that reported, if rank 0 did not).
    `value` is never "not measured": such events have no row.
    """

    key: str
    step: int
    time_ms: int
    value: float | None
    attempt: int = 0
    ranks: int = 1
    """How many ranks' values went into it."""
    nonfinite: str | None = None
    """Derived: the name of a value that JSON can't hold (it is null there)."""
    v: int = 1

    def __post_init__(self) -> None:
        if self.nonfinite is not None:
            msgspec.structs.force_setattr(self, "value", nonfinite.value_of(self.nonfinite))
        elif self.value is not None and not math.isfinite(self.value):
            msgspec.structs.force_setattr(self, "nonfinite", nonfinite.name_of(self.value))


_row_encoder = msgspec.json.Encoder()
_row_decoder = msgspec.json.Decoder(Row)


class RowLog:
    """The row log of one trial. Several processes may append: a lock, then a re-read."""

    def __init__(self, trial_folder: Path) -> None:
        self.path = trial_folder / ROWS_NAME
        self._lock_path = trial_folder / LOCK_NAME
        self._published = PublishedSteps()
        self._known_bytes = 0
        self._anew_path = trial_folder / ANEW_NAME
        self._generation = self.generation()
        self.unreadable = 0

    def generation(self) -> str:
        """Another text once the log was lost and begun again: offsets into it are then void.

        Empty for a log that never was.
        """
        try:
            return self._anew_path.read_text()
        except FileNotFoundError:
            return ""

    def begin_anew(self) -> None:
        """Notes that the log is not the one it was before. Raises `OSError`."""
        self._forget(secrets.token_hex(8))
        replace(self._anew_path, self._generation.encode())

    def lost(self) -> bool:
        """Whether rows that were logged or seen here are gone, or the log was begun again."""
        return self._shorter() or self.generation() != self._generation

    def size(self) -> int:
        """Bytes in the log; 0 if there is none."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def _shorter(self) -> bool:
        return self.size() < self._known_bytes

    def _forget(self, generation: str) -> None:
        self._published = PublishedSteps()
        self._known_bytes = 0
        self._generation = generation

    def catch_up(self) -> None:
        """Takes in rows that another process, or an earlier life of this one, has logged."""
        while True:
            rows, end = self.read(self._known_bytes)
            if end == self._known_bytes:
                return
            for row in rows:
                self._published.add(row.key, row.step)
            self._known_bytes = end

    def append(self, rows: Iterable[Row]) -> list[Row]:
        """Logs those rows whose (key, step) has none yet, and gives them back.

        A torn last line is cut off first: it was never sent. A log that was removed is begun
        again. Raises `OSError` if the disk refuses; then nothing was logged.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock_path):
            if (generation := self.generation()) != self._generation:
                self._forget(generation)
            elif self._shorter():
                self.begin_anew()
            self.catch_up()
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if os.fstat(handle).st_size != self._known_bytes:
                    os.ftruncate(handle, self._known_bytes)
                fresh = self._fresh(rows)
                data = b"".join(_row_encoder.encode(row) + b"\n" for row in fresh)
                os.lseek(handle, self._known_bytes, os.SEEK_SET)
                try:
                    write_all(handle, data)
                except OSError:
                    os.ftruncate(handle, self._known_bytes)
                    raise
            finally:
                os.close(handle)
            for row in fresh:
                self._published.add(row.key, row.step)
            self._known_bytes += len(data)
        return fresh

    def _fresh(self, rows: Iterable[Row]) -> list[Row]:
        seen: set[tuple[str, int]] = set()
        fresh = []
        for row in rows:
            place = (row.key, row.step)
            if place not in self._published and place not in seen:
                seen.add(place)
                fresh.append(row)
        return fresh

    def read(self, offset: int, limit_bytes: int = CHUNK_BYTES) -> tuple[list[Row], int]:
        """Rows of whole lines from byte `offset` on, and the offset behind them.

        A line that is no row is counted and passed over; where a (key, step) stands twice in a
        damaged log, both are given, and the reader keeps the first.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                data = file.read(limit_bytes)
        except FileNotFoundError:
            return [], offset
        end = data.rfind(b"\n") + 1
        rows = []
        for line in data[:end].split(b"\n"):
            if line:
                try:
                    rows.append(_row_decoder.decode(line))
                except (msgspec.MsgspecError, ValueError):
                    self.unreadable += 1
        return rows, offset + end
