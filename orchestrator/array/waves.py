"""The files of job arrays: which trials were handed to which task, written before submitting.

studies/<instance>/arrays/<stamp>/
    wave.json        the trials of every task, in one read
    task-<k>.json    what task k runs
    started-<k>      written by task k first of all: its node sees the home
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cluster.slurm.records import Job, JobRecord, JobRecords
from orchestrator.engine.ticket import Ticket
from orchestrator.errors import DamagedFileError
from orchestrator.home import Home, write_whole

ARRAYS = "arrays"
_WAVE = "wave.json"
_STARTED = "started-"


class Handed(msgspec.Struct, frozen=True):
    """A trial as it was handed to a task; attempts made for it carry the token."""

    identity: str
    token: str
    outcome_number: int


class Wave(msgspec.Struct, frozen=True):
    """The tasks of one wave, in order."""

    tasks: list[list[Handed]]


class TaskFile(msgspec.Struct, frozen=True, kw_only=True):
    """What one array task runs, one trial after the other."""

    study_folder: str
    tickets: list[Ticket]
    cpus: int = 1
    """Per rank."""
    ranks: int = 1
    reusable: bool = False
    """Whether one process may run several trials."""
    lost_without_progress: int = 3
    """So many losses in a row without a newer checkpoint fail a trial."""
    leave_within_s: float = 60.0
    """How long a trial has to save and end once the job is told to leave."""


class Started(msgspec.Struct, frozen=True):
    """A task's first word."""

    job: str | None
    host: str
    at_s: float


@dataclass(frozen=True)
class SentTask:
    """A task that was submitted."""

    study_folder: Path
    wave: str
    number: int
    """Which of the wave's tasks it is."""
    record: JobRecord
    index: int
    """Which of the array's."""
    handed: tuple[Handed, ...]

    @property
    def job(self) -> str:
        """The id to look it up by, e.g. `12_3`."""
        return f"{self.record.id}_{self.index}"

    @property
    def asked(self) -> Job:
        """What the queue is asked for."""
        return Job(self.job, self.record.name, self.record.cluster)

    @property
    def log(self) -> Path:
        """Where what it printed is."""
        return self.study_folder / self.record.log(self.index)

    @property
    def wave_folder(self) -> Path:
        return self.study_folder / ARRAYS / self.wave


def new_wave(study_folder: Path, tasks: Sequence[TaskFile]) -> Path:
    """Writes a wave's files; gives its folder. Raises `OSError`."""
    root = study_folder / ARRAYS
    root.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for more in itertools.count():
        folder = root / (f"{stamp}-{more}" if more else stamp)
        try:
            folder.mkdir()
            break
        except FileExistsError:
            continue
    for number, task in enumerate(tasks):
        task_path(folder, number).write_bytes(msgspec.json.encode(task))
    handed = [[Handed(t.identity, t.token, t.outcome_number) for t in k.tickets] for k in tasks]
    write_whole(folder / _WAVE, msgspec.json.encode(Wave(handed)))
    return folder


def task_path(wave: Path, number: int) -> Path:
    return wave / f"task-{number}.json"


def read_task(path: Path) -> TaskFile:
    """Raises `DamagedFileError`, `OSError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=TaskFile)
    except msgspec.MsgspecError as error:
        raise DamagedFileError(f"'{path}' cannot be read ({error}).") from error


def mark_started(path: Path, job: str | None) -> None:
    """Says that the task in the file `path` has begun, here. Raises `OSError`."""
    number = path.stem.removeprefix("task-")
    started = Started(job, os.environ.get("SLURMD_NODENAME") or socket.gethostname(), time.time())
    write_whole(path.with_name(f"{_STARTED}{number}"), msgspec.json.encode(started))


def started_tasks(wave: Path) -> set[int]:
    """Numbers of the tasks of a wave that have begun."""
    try:
        names = os.listdir(wave)
    except OSError:
        return set()
    return {int(name.removeprefix(_STARTED)) for name in names if name.startswith(_STARTED)}


def sent_note(wave: Path, first: int) -> str:
    """The note of a job record: which wave it is of, and the number of its first task."""
    return f"{wave.name}+{first}"


def sent_tasks(study_folder: Path) -> Iterator[SentTask]:
    """The tasks of a study's arrays that nobody has seen end as a whole, oldest first.

    A submission's arrays take its tasks in turn, in the order of their ids.
    """
    if not (study_folder / ARRAYS).is_dir():
        return
    waves: dict[str, Wave] = {}
    taken: dict[str, int] = {}
    every = (
        record
        for record in JobRecords(study_folder).all()
        if record.kind == "array" and not (record.ended_at_s and record.ready_at_s is None)
    )  # one that was taken back at once has taken nothing
    for record in sorted(every, key=lambda record: int(record.id)):
        name, _, first = record.note.partition("+")
        begin = taken.get(record.note, int(first or 0))
        taken[record.note] = begin + record.tasks
        if record.ended_at_s is not None:
            continue
        if name not in waves:
            waves[name] = _read_wave(study_folder / ARRAYS / name)
        tasks = waves[name].tasks[begin : begin + record.tasks]
        for index, handed in enumerate(tasks):
            yield SentTask(study_folder, name, begin + index, record, index, tuple(handed))


def studies_with_arrays(home: Home) -> list[Path]:
    """Folders of the studies that have ever submitted arrays."""
    return [path.parent for path in home.studies.glob(f"*/{ARRAYS}")]


def _read_wave(folder: Path) -> Wave:
    try:
        return msgspec.json.decode((folder / _WAVE).read_bytes(), type=Wave)
    except (OSError, msgspec.MsgspecError):  # somebody removed it: its tasks find nothing either
        return Wave([])
