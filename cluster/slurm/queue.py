"""What SLURM says of jobs: one squeue for all of them, one sacct for those it has forgotten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.records import Job

JobState = Literal["queued", "running", "ended", "unknown"]
EndedAs = Literal[
    "completed", "failed", "preempted", "timeout", "out_of_memory", "cancelled", "node_fail"
]

_QUEUED: Final = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
_HELD: Final = frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT"})
_RUNNING: Final = frozenset(
    {
        "RUNNING",
        "COMPLETING",
        "CONFIGURING",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "STOPPED",
        "SUSPENDED",
    }
)
_ENDED: Final[Mapping[str, EndedAs]] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "PREEMPTED": "preempted",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "NODE_FAIL": "node_fail",
    "BOOT_FAIL": "node_fail",
}

_MOST_LISTED_BYTES: Final = 100_000  # one word of a command line holds 128 KiB on Linux
_ASKED_ONE_BY_ONE: Final = 8


@dataclass(frozen=True)
class JobView:
    """What is known of one job or array task. "unknown" is never "failed"."""

    id: str
    state: JobState
    said: str = ""
    """SLURM's word, e.g. PENDING."""
    why: str = ""
    """SLURM's reason, e.g. Resources."""
    node: str = ""
    ended_as: EndedAs | None = None
    """How it ended; None while it has not, and where nothing tells."""
    foreign: bool = False
    """Unknown here since it is another SLURM's, or since the job of that number is not ours; `why`
    says so. Not to be cancelled."""
    unanswered: bool = False
    """Unknown since SLURM did not answer; `why` holds its words."""

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody to release it: a user, an administrator or SLURM itself,
        which could not start it (`launch_failed_requeued_held`), holds it."""
        held = "Held" in self.why or "Hold" in self.why or self.why.endswith("held")
        return self.state == "queued" and (held or self.said in _HELD)


def look(slurm: Slurm, ids: Iterable[str]) -> Mapping[str, JobView]:
    """As `look_for`, of ids of this SLURM (`12`, or `12_3` for a task of an array)."""
    return {job.id: view for job, view in look_for(slurm, map(Job, dict.fromkeys(ids))).items()}


def look_for(slurm: Slurm, jobs: Iterable[Job]) -> Mapping[Job, JobView]:
    """What SLURM says of each job.

    A job is "ended" if squeue, which shows a job for some minutes after its end, or the accounting
    says so; or if squeue answers, without it, and the controller says that there is no such job.
    Where a command fails or contradicts another, it is "unknown". So are, as `foreign`, a job of
    another SLURM, which is not looked up, and one whose number has a job of another name here.
    """
    asked = list(dict.fromkeys(jobs))
    found = _elsewhere(slurm, asked)
    here = {job.id: job.name for job in asked if job not in found}
    views = _look(slurm, here) if here else {}
    return {job: found.get(job) or views[job.id] for job in asked}


def _elsewhere(slurm: Slurm, jobs: list[Job]) -> dict[Job, JobView]:
    """Those that this SLURM is not to be asked for."""
    named = [job for job in jobs if job.cluster]
    if not named:
        return {}
    try:
        here = slurm.cluster_name()
    except SlurmError as error:
        return {job: JobView(job.id, "unknown", why=str(error), unanswered=True) for job in named}
    return {
        job: JobView(job.id, "unknown", why=f"of cluster '{job.cluster}'", foreign=True)
        for job in named
        if here and job.cluster != here
    }


def _look(slurm: Slurm, asked: Mapping[str, str]) -> dict[str, JobView]:
    """By id, of ids of this SLURM with the names that their jobs are to have (empty: any)."""
    bases = sorted({_base(id) for id in asked})
    try:
        found = _in_queue(slurm, bases, asked)
    except SlurmError as error:
        return {id: JobView(id, "unknown", why=str(error), unanswered=True) for id in asked}
    forgotten = [id for id in asked if id not in found]
    if forgotten:
        bases = sorted({_base(id) for id in forgotten})
        found |= _in_accounting(slurm, bases, {id: asked[id] for id in forgotten})
    untold = [id for id in forgotten if id not in found]
    if untold:
        # an array of which squeue shows a task is one that it has answered for
        shown = {_base(id) for id in found if id not in forgotten}
        gone = shown | _gone(slurm, sorted({_base(id) for id in untold} - shown))
        found |= {id: JobView(id, "ended") for id in untold if _base(id) in gone}
    return {id: found.get(id) or JobView(id, "unknown") for id in asked}


def _not_ours(id: str, name: str) -> JobView:
    return JobView(id, "unknown", why=f"its number has another job, '{name}'", foreign=True)


def named(slurm: Slurm, name: str) -> list[str]:
    """Ids of this user's jobs of that name that are in the queue, an array once.

    Raises `SlurmError`.
    """
    return list(waiting_for(slurm, name))


@dataclass(frozen=True)
class Waiting:
    """A job in the queue, of all whose tasks (that are in the queue) are held or not."""

    id: str
    held: bool
    folder: Path
    """Where it was told to run."""


def waiting_for(slurm: Slurm, name: str) -> dict[str, Waiting]:
    """This user's jobs of that name that are in the queue, by id, an array once.

    Raises `SlurmError`.
    """
    words = ["squeue", "--noheader", f"--user={os.getuid()}", f"--name={name}"]
    found: dict[str, Waiting] = {}
    for line in slurm.ask([*words, "--format=%F|%r|%Z"]).splitlines():
        id, reason, folder = [*line.strip().split("|", 2), "", ""][:3]
        if id:
            held = reason == "JobHeldUser" and (id not in found or found[id].held)
            found[id] = Waiting(id, held, Path(folder))
    return found


def in_queue_now(slurm: Slurm) -> int:
    """How many jobs and array tasks of this user are in the queue. Raises `SlurmError`."""
    words = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i"]
    return len(slurm.ask(words).split())


def _in_queue(slurm: Slurm, bases: list[str], asked: Mapping[str, str]) -> dict[str, JobView]:
    """What squeue shows; nothing, if it says that there is no such job. Raises `SlurmError`."""
    which = f"--jobs={','.join(bases)}"
    if len(which) > _MOST_LISTED_BYTES:
        which = f"--user={os.getuid()}"
    words = ["squeue", "--noheader", "--array", "--states=all", which, "--format=%i|%T|%N|%r|%j"]
    try:
        said = slurm.ask(words)
    except SlurmError as error:
        if error.says_no_such_job:  # it says so if it was asked for one job only
            return {}
        raise
    found: dict[str, JobView] = {}
    others: dict[str, str] = {}
    called = {_base(id): name for id, name in asked.items()}
    for line in said.splitlines():
        fields = line.strip().split("|", 4)
        if len(fields) == 5:
            id, word, node, why, name = fields
            if _is_called(name, called.get(_base(id), "")):
                found[id] = _view(id, word, node, "" if why == "None" else why)
            else:
                others[_base(id)] = name
    # all of a number is another's, whether it has tasks of the same index or none
    strange = {id: _not_ours(id, others[_base(id)]) for id in asked if _base(id) in others}
    return found | strange


def _is_called(name: str, expected: str) -> bool:
    return not expected or name == expected


def _in_accounting(slurm: Slurm, bases: list[str], wanted: Mapping[str, str]) -> dict[str, JobView]:
    """The ends that the accounting tells; a job it takes to be running it may not have heard of."""
    words = ["sacct", "--noheader", "--parsable2", "--allocations"]
    words += ["--format=JobID,State,NodeList,JobName"]
    which = ",".join(bases)
    scope = [f"--jobs={which}"] if len(which) < _MOST_LISTED_BYTES else [f"--user={os.getuid()}"]
    try:
        said = slurm.ask([*words, *scope])
    except SlurmError:
        return {}
    found = {}
    for line in said.splitlines():
        fields = line.strip().split("|", 3)
        if len(fields) != 4:
            continue
        for id in _expanded(fields[0]):
            view = _view(id, fields[1], fields[2], "")
            ours = id in wanted and _is_called(fields[3], wanted[id])
            if ours and view.state == "ended":
                found[id] = view
    return found


def _gone(slurm: Slurm, bases: list[str]) -> set[str]:
    """Those of which the controller says that there is no such job."""
    if len(bases) > _ASKED_ONE_BY_ONE:
        try:
            known = set(re.findall(r"\b(?:Array)?JobId=(\d+)", slurm.ask([*_SHOW, "jobs"])))
        except SlurmError:
            return set()
        return set(bases) - known
    gone = set()
    for base in bases:
        try:
            slurm.ask([*_SHOW, "job", base])
        except SlurmError as error:
            if error.says_no_such_job:
                gone.add(base)
    return gone


_SHOW: Final = ["scontrol", "--oneliner", "show"]


def _view(id: str, word: str, node: str, why: str) -> JobView:
    said = word.split(" ")[0].rstrip("+")  # CANCELLED by 1000
    node = "" if node == "None assigned" else node
    if said in _ENDED:
        return JobView(id, "ended", said, why, node, _ENDED[said])
    if said in _QUEUED:
        return JobView(id, "queued", said, why, node)
    return JobView(id, "running" if said in _RUNNING else "unknown", said, why, node)


def _base(id: str) -> str:
    return id.partition("_")[0]


def _expanded(id: str) -> Iterator[str]:
    """`12`, `12_3`, or each of `12_[1-3,7%2]`."""
    base, bracket, inside = id.partition("_[")
    if not bracket:
        yield id
        return
    for part in inside.rstrip("]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            for index in range(int(first), int(last if last.isdigit() else first) + 1):
                yield f"{base}_{index}"
