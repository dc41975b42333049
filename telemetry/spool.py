"""The spool: one append-only JSONL file per rank of an attempt. It is the truth of telemetry.

``<trial>/attempt-0000/spool/rank-0000.jsonl``. A process may die in the middle of a line: whoever
appends next ends that line first, and readers count it and pass on. A last line without its end is
still being written and is left for the next read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from telemetry.events import Event, EventError, decode
from telemetry.filesystem import is_local

_ATTEMPT = re.compile(r"attempt-(\d{4,})\Z")
_RANK = re.compile(r"rank-(\d{4,})\.jsonl\Z")
CHUNK_BYTES = 8 * 1024 * 1024


def spool_path(attempt_folder: Path, rank: int) -> Path:
    """Where rank `rank` of the attempt in `attempt_folder` spools its events."""
    return attempt_folder / "spool" / f"rank-{rank:04d}.jsonl"


@dataclass(frozen=True, order=True)
class SpoolFile:
    """A spool that was found, in the order in which attempts, then ranks, are read."""

    attempt: int
    rank: int
    path: Path = field(compare=False)


def spools_of(trial_folder: Path) -> list[SpoolFile]:
    """Every spool of a trial, attempts first, then ranks; empty if there is none."""
    found: list[SpoolFile] = []
    for attempt in _entries(trial_folder, _ATTEMPT):
        folder = trial_folder / attempt[1] / "spool"
        found += [
            SpoolFile(attempt[0], rank, folder / name) for rank, name in _entries(folder, _RANK)
        ]
    return sorted(found)


def _entries(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(int(match[1]), name) for name in names if (match := pattern.match(name))]


class SpoolWriter:
    """Appends lines to one spool; what the disk refuses is kept in order until it is taken.

    `held_bytes` is what waits. A line that was cut by a full disk is completed later, so a reader
    sees either the whole line or, if the process dies first, a torn one. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.resumed = False
        self.next_seq = 0
        self._handle: int | None = None
        self._held = bytearray()
        self._sync = False

    @property
    def held_bytes(self) -> int:
        """Bytes that the disk has not taken yet."""
        return len(self._held)

    def open(self) -> None:
        """Opens the spool, ends a torn last line and continues its sequence. Raises `OSError`."""
        if self._handle is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and not self.resumed:
                self.resumed = True
                if os.pread(handle, 1, size - 1) != b"\n":
                    self._held[:0] = b"\n"
                last = last_event(self.path)
                self.next_seq = max(self.next_seq, 0 if last is None else last.seq + 1)
            self._sync = not is_local(self.path.parent)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def append(self, line: bytes) -> None:
        """Appends one line, given with its line end. Raises `OSError`; then the line is held."""
        if self._held or self._handle is None:
            self._held += line
            self.retry()
            return
        try:
            written = os.write(self._handle, line)
        except OSError:
            self._held += line
            raise
        if written != len(line):
            self._held += line[written:]
            self.retry()

    def hold(self, line: bytes) -> None:
        """Keeps a line behind those that wait, without a try at the disk."""
        self._held += line

    def retry(self) -> None:
        """Writes what is held. Raises `OSError` while the disk refuses; nothing is lost by it."""
        self.open()
        assert self._handle is not None
        while self._held:
            del self._held[: os.write(self._handle, self._held)]

    def sync(self) -> None:
        """On a network file system, makes what was appended visible to other hosts."""
        if self._sync and self._handle is not None:
            os.fsync(self._handle)

    def close(self) -> None:
        """Closes the file; what is still held stays in memory."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@dataclass
class SpoolReader:
    """Reads a spool from a byte offset on, as often as one likes.

    `offset` is behind the last whole line that was read; `unreadable` counts lines that are no
    event (torn by a death, or of a newer version).
    """

    path: Path
    offset: int = 0
    unreadable: int = 0

    def read(self, limit_bytes: int = CHUNK_BYTES) -> Iterator[Event]:
        """The events of whole lines from `offset` on, at most about `limit_bytes` of them.

        Moves `offset` before it yields, so take all of what it gives. A missing file is empty.
        """
        for line in self.lines(limit_bytes):
            try:
                event = decode(line)
            except EventError:
                self.unreadable += 1
                continue
            yield event

    def lines(self, limit_bytes: int = CHUNK_BYTES) -> list[bytes]:
        """Whole lines, without their ends, from `offset` on; moves `offset` behind them."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.offset)
                data = file.read(limit_bytes)
                end = data.rfind(b"\n")
                while end < 0 and len(data) == limit_bytes:  # one line longer than the limit
                    more = file.read(limit_bytes)
                    if not more:
                        return []
                    end = more.rfind(b"\n")
                    end = end + len(data) if end >= 0 else -1
                    data, limit_bytes = data + more, limit_bytes + len(more)
        except FileNotFoundError:
            return []
        if end < 0:
            return []
        self.offset += end + 1
        return [line for line in data[: end + 1].split(b"\n") if line]

    def behind(self) -> int:
        """Bytes in the file that were not read yet, a torn last line among them."""
        try:
            return max(0, os.stat(self.path).st_size - self.offset)
        except FileNotFoundError:
            return 0


def last_event(path: Path) -> Event | None:
    """The last readable event of a spool, found from its end; None if there is none."""
    window = 64 * 1024
    size = path.stat().st_size
    while True:
        start = max(0, size - window)
        with open(path, "rb") as file:
            file.seek(start)
            lines = file.read(size - start).split(b"\n")
        if start > 0:
            lines = lines[1:]
        for line in reversed(lines):
            try:
                return decode(line)
            except EventError:
                continue
        if start == 0:
            return None
        window *= 8
