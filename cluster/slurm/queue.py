"""What SLURM says of jobs: one squeue for all of them, one sacct for those it has forgotten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cluster.slurm.commands import Slurm, SlurmError

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

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody to release it: a user, an administrator or SLURM itself,
        which could not start it (`launch_failed_requeued_held`), holds it."""
        held = "Held" in self.why or "Hold" in self.why or self.why.endswith("held")
        return self.state == "queued" and (held or self.said in _HELD)


def look(slurm: Slurm, ids: Iterable[str]) -> Mapping[str, JobView]:
    """What SLURM says of each id (`12`, or `12_3` for a task of an array).

    A job is "ended" if squeue, which shows a job for some minutes after its end, or the accounting
    says so; or if squeue answers, without it, and the controller says that there is no such job.
    Where a command fails or contradicts another, it is "unknown".
    """
    asked = list(dict.fromkeys(ids))
    if not asked:
        return {}
    bases = sorted({_base(id) for id in asked})
    try:
        found = _in_queue(slurm, bases)
    except SlurmError:
        return {id: JobView(id, "unknown") for id in asked}
    forgotten = [id for id in asked if id not in found]
    if forgotten:
        found |= _in_accounting(slurm, sorted({_base(id) for id in forgotten}), set(forgotten))
    untold = [id for id in forgotten if id not in found]
    if untold:
        # an array of which squeue shows a task is one that it has answered for
        shown = {_base(id) for id in found if id not in forgotten}
        gone = shown | _gone(slurm, sorted({_base(id) for id in untold} - shown))
        found |= {id: JobView(id, "ended") for id in untold if _base(id) in gone}
    return {id: found.get(id) or JobView(id, "unknown") for id in asked}


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


def _in_queue(slurm: Slurm, bases: list[str]) -> dict[str, JobView]:
    """What squeue shows; nothing, if it says that there is no such job. Raises `SlurmError`."""
    which = f"--jobs={','.join(bases)}"
    if len(which) > _MOST_LISTED_BYTES:
        which = f"--user={os.getuid()}"
    words = ["squeue", "--noheader", "--array", "--states=all", which, "--format=%i|%T|%N|%r"]
    try:
        said = slurm.ask(words)
    except SlurmError as error:
        if error.says_no_such_job:  # it says so if it was asked for one job only
            return {}
        raise
    found = {}
    for line in said.splitlines():
        fields = line.strip().split("|", 3)
        if len(fields) == 4:
            id, word, node, why = fields
            found[id] = _view(id, word, node, "" if why == "None" else why)
    return found


def _in_accounting(slurm: Slurm, bases: list[str], wanted: set[str]) -> dict[str, JobView]:
    """The ends that the accounting tells; a job it takes to be running it may not have heard of."""
    words = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State,NodeList"]
    which = ",".join(bases)
    scope = [f"--jobs={which}"] if len(which) < _MOST_LISTED_BYTES else [f"--user={os.getuid()}"]
    try:
        said = slurm.ask([*words, *scope])
    except SlurmError:
        return {}
    found = {}
    for line in said.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 3:
            continue
        for id in _expanded(fields[0]):
            view = _view(id, fields[1], fields[2], "")
            if id in wanted and view.state == "ended":
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
