"""A log of what was given to a store that can't be asked what it has.

Each record that goes out (the rows of one step) gets the next number, here, before it is sent. The
store is told the number, and says how many it has: what is beyond that never arrived.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from telemetry.filesystem import replace, write_all
from telemetry.rowlog import Row
from telemetry.steps import PublishedSteps


class _Line(msgspec.Struct, array_like=True):
    step: int
    keys: list[str]


class SentLog:
    """The records of one run, in the file `path`, by number from 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[_Line] = []
        self._rows = PublishedSteps()
        self._load()

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, row: Row) -> bool:
        return (row.key, row.step) in self._rows

    def fresh(self, rows: Iterable[Row]) -> list[list[Row]]:
        """The measured rows that no record holds, as records: neighbours of one step and time."""
        records: list[list[Row]] = []
        taken: set[tuple[str, int]] = set()
        for row in rows:
            place = (row.key, row.step)
            if row.value is None or row in self or place in taken:
                continue
            taken.add(place)
            last = records[-1][-1] if records else None
            if last is not None and (last.step, last.time_ms) == (row.step, row.time_ms):
                records[-1].append(row)
            else:
                records.append([row])
        return records

    def append(self, records: Sequence[Sequence[Row]]) -> int:
        """Writes records down; the number of the first. Raises `OSError`."""
        first = len(self._lines)
        lines = [_Line(rows[0].step, [row.key for row in rows]) for rows in records]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            write_all(handle, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        finally:
            os.close(handle)
        self._take(lines)
        return first

    def cut(self, count: int) -> set[tuple[str, int]]:
        """Forgets all records from number `count` on; gives their (key, step). Raises `OSError`."""
        dropped = self._lines[count:]
        if dropped:
            kept, self._lines, self._rows = self._lines[:count], [], PublishedSteps()
            replace(self.path, b"".join(msgspec.json.encode(line) + b"\n" for line in kept))
            self._take(kept)
        return {(key, line.step) for line in dropped for key in line.keys}

    def _take(self, lines: Iterable[_Line]) -> None:
        for line in lines:
            self._lines.append(line)
            for key in line.keys:
                self._rows.add(key, line.step)

    def _load(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # torn by a death, and so never sent
            replace(self.path, whole)
        self._take(msgspec.json.decode(line, type=_Line) for line in whole.splitlines())
