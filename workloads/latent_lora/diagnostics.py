"""A trial's own records: `diagnostics.jsonl` and a training log that a person can read."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from workloads.contract import TrialContext

FILE = "diagnostics.jsonl"


class Diagnostics:
    """Writes both files into the trial's artifacts; on ranks other than 0 it writes nothing.

    Every line is valid JSON (a number that is none becomes null) and carries `type`, the trial's
    identity and label, seed, attempt, `timestamp` (Unix time, s). F1 and EM are fractions here, as
    the origin's readers of this file expect; everywhere else they are points.
    """

    def __init__(self, context: TrialContext) -> None:
        self._stamp = {
            "trial": context.identity,
            "label": context.label,
            "seed": context.seed,
            "attempt": context.attempt,
        }
        self._records: TextIO | None = None
        self._log: TextIO | None = None
        if context.rank == 0:
            context.artifacts.mkdir(parents=True, exist_ok=True)
            name = time.strftime("training_%Y%m%d_%H%M%S.log")
            self._records = (context.artifacts / FILE).open("a", encoding="utf-8")
            self._log = (context.artifacts / name).open("a", encoding="utf-8")

    def record(self, kind: str, **values: Any) -> None:
        """One line of diagnostics."""
        if self._records is not None:
            line = {"type": kind, **self._stamp, "timestamp": time.time(), **values}
            self._records.write(json.dumps(_plain(line), allow_nan=False) + "\n")
            self._records.flush()

    def log(self, message: str) -> None:
        """One line of the log."""
        if self._log is not None:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
            self._log.flush()

    def __enter__(self) -> Diagnostics:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.log(f"stopped by {type(error).__name__}: {error}")
        for file in (self._records, self._log):
            if file is not None:
                file.close()


def read_diagnostics(folder: Path) -> list[dict[str, Any]]:
    """The records of a trial's artifacts; lines that are cut off (a killed trial) are left out."""
    path = folder / FILE
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
