"""The collector's journal: what it was told, so that the one after it can take over."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from telemetry.filesystem import write_all
from telemetry.runs import StudyRun, TrialEnd, TrialRun

logger = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a collector was told: of the study, of a trial, or of a trial's end."""

    study: StudyRun | None = None
    artifacts: str | None = None
    trial: TrialRun | None = None
    identity: str | None = None
    end: TrialEnd | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class Journal:
    """An append-only file of entries; without a path, nothing is kept."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None

    def add(self, entry: Entry) -> None:
        """Appends an entry. A refusing disk is only warned of: the driver publishes from files."""
        if self._path is None:
            return
        line = _encoder.encode(entry) + b"\n"
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                write_all(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            logger.warning("the collector's journal can't be written: %s", error)

    def entries(self) -> Iterator[Entry]:
        """What was told before, in order; a line that was torn by a death is passed over."""
        if self._path is None or not self._path.exists():
            return
        for line in self._path.read_bytes().split(b"\n"):
            try:
                yield _decoder.decode(line)
            except msgspec.MsgspecError:
                continue

    def remove(self) -> None:
        """Removes the file: nothing of it is needed any more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
