"""Tasks on their way into SLURM's queue: grouped, written down, submitted as it has room."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.slurm.commands import Slurm
from cluster.slurm.limits import signal_s
from cluster.slurm.records import JobRecord, JobRecords
from cluster.slurm.settings import SlurmSettings
from cluster.slurm.submission import Submission, submit
from orchestrator.array.task import run_task
from orchestrator.array.waves import TaskFile, new_wave, sent_note, task_path
from orchestrator.engine.ticket import Ticket

if TYPE_CHECKING:
    from cluster.sources import Sources
    from orchestrator.study import Study

ROOM_EVERY_S = 30.0
"""How often a queue that was full is tried again."""


@dataclass
class _Wave:
    """A wave's files, and how many of its tasks are in the queue."""

    folder: Path
    tasks: list[int]
    """How many trials each task has."""
    sent: int = 0


@dataclass
class Outbox:
    """What is still to be submitted for one run of a study."""

    study: Study
    settings: SlurmSettings
    slurm: Slurm
    sources: Sources | None = None
    _waves: deque[_Wave] = field(default_factory=deque)
    _full_at_s: float = float("-inf")

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Groups tickets into tasks, and writes their files. Raises `OSError`."""
        if not tickets:
            return
        size = self.settings.trials_per_task
        groups = [list(tickets[i : i + size]) for i in range(0, len(tickets), size)]
        folder = new_wave(self.study.folder, [self._task(group) for group in groups])
        self._waves.append(_Wave(folder, [len(group) for group in groups]))

    def waiting(self) -> int:
        """How many trials wait for room in the queue."""
        return sum(sum(wave.tasks[wave.sent :]) for wave in self._waves)

    def send(self, *, room_was_made: bool = False) -> list[JobRecord]:
        """Submits what the queue takes now, the first wave first. Raises `SlurmError`.

        A queue that was full is tried again after a while, or when tasks of ours have left it.
        """
        full = time.monotonic() - self._full_at_s < ROOM_EVERY_S
        if not self._waves or (full and not room_was_made):
            return []
        sent: list[JobRecord] = []
        while self._waves:
            wave = self._waves[0]
            records = submit(self.slurm, self.submission(wave), JobRecords(self.study.folder))
            sent += records
            wave.sent += sum(record.tasks for record in records)
            if wave.sent < len(wave.tasks):
                self._full_at_s = time.monotonic()
                break
            self._waves.popleft()
        return sent

    def submission(self, wave: _Wave) -> Submission:
        """What is left of a wave."""
        from cluster.sources import Sources

        if self.sources is None:
            self.sources = Sources.snapshot(self.study.home.root)
        places = range(wave.sent, len(wave.tasks))
        return array_submission(
            self.study,
            self.settings,
            [str(task_path(wave.folder, place)) for place in places],
            self.sources,
            sent_note(wave.folder, wave.sent),
        )

    def _task(self, tickets: list[Ticket]) -> TaskFile:
        study = self.study
        return TaskFile(
            study_folder=str(study.folder),
            tickets=tickets,
            cpus=_whole(study.file.resources.cpus),
            ranks=study.file.resources.ranks,
            reusable=study.workload.reusable,
            lost_without_progress=study.file.retries.lost_without_progress,
            leave_within_s=max(1.0, 0.6 * signal_s(self.settings)),
        )


def array_submission(
    study: Study,
    settings: SlurmSettings,
    task_files: Sequence[str],
    sources: Sources | None,
    note: str = "",
) -> Submission:
    """The submission of one array task for each file: what `orrery plan` previews, too."""
    resources = study.file.resources
    return Submission(
        kind="array",
        name=study.instance,
        function=run_task,
        arguments=task_files,
        settings=settings,
        folder=study.folder,
        cpus=_whole(resources.cpus),
        gpus=math.ceil(resources.gpus),
        memory_gib=resources.memory_gib or 0.0,
        tasks_per_job=resources.ranks,
        nodes=settings.nodes_per_task,
        sources=sources,
        at_once=settings.at_once or resources.max_concurrent,
        note=note,
    )


def _whole(cpus: float) -> int:
    """SLURM gives whole CPUs."""
    return max(1, math.ceil(cpus))
