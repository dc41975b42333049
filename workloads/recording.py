"""Runs one trial without an orchestrator, and keeps what it gave and said."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from telemetry.contracts import Contract, Snapshot
from workloads.contract import (
    Checkpoint,
    Result,
    TrialContext,
    TrialStopped,
    Workload,
    WorkloadConfig,
)


class RecordingEmitter:
    """An emitter that keeps what it is given, in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float | None]]] = []
        self.facts: dict[str, Any] = {}

    def metrics(
        self, values: Mapping[str, float | None], *, step: int, epoch: float | None = None
    ) -> None:
        """Keeps a row."""
        self.rows.append((step, dict(values)))

    def snapshot(
        self, contract: Contract, *, step: int | None = None, epoch: float | None = None
    ) -> None:
        """Keeps what tier 2 measured as a row; without a step it is none."""
        if isinstance(contract, Snapshot) and step is not None:
            self.rows.append((step, contract.values()))

    def trace(self, name: str, data: Mapping[str, Any], *, step: int, reason: str = "") -> None:
        """Dense records are not looked at."""

    def context(self, facts: Mapping[str, Any]) -> None:
        """Keeps facts."""
        self.facts.update(facts)


@dataclass
class KeptCheckpoints:
    """Checkpoints in a folder, of which none is removed. `start` is where the trial goes on.

    With `leave_after` questions, a checkpoint is wanted from the next one on, and the trial is
    stopped when it is made.
    """

    folder: Path
    start: Checkpoint | None = None
    leave_after: int | None = None
    saved: list[Checkpoint] = field(default_factory=list)
    _asked: int = 0

    def latest(self) -> Checkpoint | None:
        """The one saved last, else the start."""
        return self.saved[-1] if self.saved else self.start

    @contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        """A folder that becomes a checkpoint when the block ends; see `leave_after`."""
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
        yield partial
        final = self.folder / f"step-{step:012d}"
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        self.saved = [one for one in self.saved if one.step != step] + [Checkpoint(final, step)]
        if self._told:
            raise TrialStopped

    def wanted(self) -> bool:
        """Whether `leave_after` questions were asked before."""
        self._asked += 1
        return self._told

    @property
    def _told(self) -> bool:
        return self.leave_after is not None and self._asked > self.leave_after


@dataclass(frozen=True)
class Recorded:
    """What a trial gave and said. `result` is None if it was stopped."""

    result: Result | None
    rows: list[tuple[int, dict[str, float | None]]]
    reported: list[int]
    checkpoints: list[Checkpoint]
    device_bytes: int
    """Memory that is in use on the accelerator after the trial; 0 without one."""


def run_recorded(
    workload: Workload[Any],
    fields: Mapping[str, Any],
    folder: Path,
    *,
    seed: int = 0,
    start: Checkpoint | None = None,
    stop_at_first_report: bool = False,
    leave_after: int | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> Recorded:
    """Runs one trial in this process, in a fresh folder below `folder`.

    `leave_after` as in `KeptCheckpoints`. As one of several `ranks`, in a process whose environment
    names the others (`in_ranks`).
    """
    place = Path(tempfile.mkdtemp(prefix="trial-", dir=folder))
    for name in ("artifacts", "checkpoints"):
        (place / name).mkdir()
    emitter, reported = RecordingEmitter(), list[int]()
    checkpoints = KeptCheckpoints(place / "checkpoints", start, leave_after)

    def report(step: int, metrics: Mapping[str, float | None]) -> None:
        reported.append(step)
        if stop_at_first_report:
            raise TrialStopped

    context = TrialContext(
        identity="0" * 20,
        label="contract",
        seed=seed,
        attempt=0 if start is None else 1,
        artifacts=place / "artifacts",
        emitter=emitter,
        checkpoints=checkpoints,
        report=report,
        rank=rank,
        ranks=ranks,
    )
    result: Result | None = None
    try:
        result = workload.run(resolved(workload, fields), context)
    except TrialStopped:
        if not stop_at_first_report and leave_after is None:
            raise
    return Recorded(result, emitter.rows, reported, checkpoints.saved, _device_bytes())


def resolved(workload: Workload[Any], fields: Mapping[str, Any]) -> WorkloadConfig:
    """The configuration of `fields`, as a trial is handed it."""
    config: WorkloadConfig = workload.resolve(workload.Config.model_validate(dict(fields)))
    return config


def _device_bytes() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    gc.collect()
    return int(torch.cuda.memory_allocated())
