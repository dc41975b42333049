"""Tasks on their way into SLURM's queue: grouped, written down, submitted as it has room."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.limits import signal_s
from cluster.slurm.queue import in_queue_now
from cluster.slurm.recorded import cancel_ours
from cluster.slurm.records import JobRecord, JobRecords
from cluster.slurm.settings import SlurmSettings
from cluster.slurm.submission import Submission, adopt_or_cancel_strays, submit
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
    _in_doubt: bool = False
    """Whether a submission failed of which the queue may have kept something."""

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

        A queue that was full is tried again after a while, or when tasks of ours have left it. To
        be called again after an error: what a failed submission has left goes before that.
        """
        full = time.monotonic() - self._full_at_s < ROOM_EVERY_S
        if not self._waves or (full and not room_was_made):
            return []
        sent: list[JobRecord] = []
        while self._waves:
            wave = self._waves[0]
            try:
                if self._in_doubt:
                    self._take_back(wave)
                records = submit(self.slurm, self.submission(wave), JobRecords(self.study.folder))
            except SlurmError as error:
                self._in_doubt = True
                if error.says_queue_full and self._anything_queued():
                    self._full_at_s = time.monotonic()
                    break
                if sent:  # of the waves before: the error comes again
                    break
                raise
            sent += records
            wave.sent += sum(record.tasks for record in records)
            if wave.sent < len(wave.tasks):
                self._full_at_s = time.monotonic()
                break
            self._waves.popleft()
        return sent

    def _anything_queued(self) -> bool:
        """Whether this user has jobs in the queue whose ends make room: else none will come."""
        try:
            return in_queue_now(self.slurm) > 0
        except SlurmError:
            return False

    def _take_back(self, wave: _Wave) -> None:
        """Cancels what failed submissions of a wave's rest may have in the queue, held or not."""
        records = JobRecords(self.study.folder)
        note = sent_note(wave.folder, wave.sent)
        half = [r for r in records.open() if r.note == note and r.ready_at_s is None]
        cancel_ours(self.slurm, records, half)
        adopt_or_cancel_strays(self.slurm, self.study.instance, records)
        self._in_doubt = False

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
