"""What was submitted for a study: one small file for each job, `jobs/<id>.json`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

JOBS: Final = "jobs"
"""Folder of a study that holds its job records and, one folder per submission, their logs."""

JobKind = Literal["pilot", "array", "head", "ray-job", "process"]


class Job(NamedTuple):
    """A job or array task to look up."""

    id: str
    """`12`, or `12_3`."""
    name: str = ""
    """What it is called in the queue: under another name, it is another's. Empty: any."""
    cluster: str = ""
    """Whose id it is. Empty: that of the SLURM that is asked."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was submitted, and, once somebody has seen it, that it has ended."""

    id: str
    """SLURM's number (of the whole array), Ray's submission id, or `HOST-PID` of a process."""
    kind: JobKind
    name: str
    submitted_at_s: float
    """Seconds since the epoch."""
    host: str
    """Where it was submitted."""
    tasks: int = 1
    """Tasks of an array: their indices are 0 … tasks - 1. 1 for a job that is no array."""
    cluster: str = ""
    """The name of the SLURM that has it: on another one, its id is somebody else's. Empty: not
    told."""
    address: str | None = None
    folder: str = ""
    """Where its script and logs are, relative to the study's folder."""
    sources: str | None = None
    """Digest of the snapshot of the sources it runs."""
    note: str = ""
    ready_at_s: float | None = None
    """When all that it needs was written. None: its submission was cut short, so it is to go."""
    ended_at_s: float | None = None
    """When its end was noticed; None while nobody has seen it end."""
    ended_as: str = ""
    """What was said of its end, e.g. SLURM's word."""

    @property
    def jobs(self) -> list[Job]:
        """As `job_ids`, with what makes each of them this record's."""
        return [Job(id, self.name, self.cluster) for id in self.job_ids]

    @property
    def job_ids(self) -> list[str]:
        """The ids to look up in the queue: `12`, or `12_0`, `12_1`, … for an array."""
        if self.kind != "array":
            return [self.id]
        return [f"{self.id}_{index}" for index in range(self.tasks)]

    def log(self, index: int = 0, rank: int = 0) -> str:
        """Path of what a task wrote (stdout and stderr), relative to the study's folder."""
        job = f"{self.id}_{index}" if self.kind == "array" else self.id
        return f"{self.folder}/{job}_{rank}_log.out"


class JobRecords:
    """The records of one study's folder."""

    def __init__(self, study_folder: Path) -> None:
        self.study_folder = study_folder
        self.folder = study_folder / JOBS

    def add(self, record: JobRecord) -> None:
        """Writes a record, in place of an earlier one of the same id and cluster. Raises
        `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(record.id, record.cluster)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(record))
        os.replace(temporary, path)

    def all(self) -> list[JobRecord]:
        """Every record, oldest first. A file that is no record (of a later version) is left out."""
        found = []
        for path in self.folder.glob("*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=JobRecord))
            except (OSError, msgspec.DecodeError):
                continue
        return sorted(found, key=lambda record: (record.submitted_at_s, record.id))

    def open(self) -> list[JobRecord]:
        """Those that nobody has seen end, oldest first."""
        return [record for record in self.all() if record.ended_at_s is None]

    def end(self, id: str, said: str, cluster: str = "") -> None:
        """Notes that a job has ended, and as what. A job that is not recorded stays so."""
        record = _read(self._path(id, cluster))
        if record is not None and record.ended_at_s is None:
            self.add(msgspec.structs.replace(record, ended_at_s=time.time(), ended_as=said))

    def _path(self, id: str, cluster: str) -> Path:
        """`<id>.json`; where another cluster's job has that, `<id>@<cluster>.json`."""
        path = self.folder / f"{id.replace('/', '_')}.json"
        there = _read(path)
        if there is None or not there.cluster or cluster in ("", there.cluster):
            return path
        return path.with_name(f"{path.stem}@{cluster.replace('/', '_')}.json")


def _read(path: Path) -> JobRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
