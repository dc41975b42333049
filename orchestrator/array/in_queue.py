"""Which trials SLURM's queue has: by the records and task files, and one look at the queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress

from cluster.slurm.queue import JobView
from cluster.slurm.records import Job, JobRecords
from orchestrator.array.waves import (
    Handed,
    SentTask,
    sent_tasks,
    started_tasks,
    studies_with_arrays,
)
from orchestrator.attempts import Attempt, attempts
from orchestrator.home import Home
from orchestrator.queue_views import queue_views


def trials_in_queue(home: Home) -> Mapping[str, str]:
    """Identity → job (e.g. `12_3`) of each trial that an array task of any study here may yet run.

    A job of which SLURM tells nothing counts as waiting. Where no array is open, SLURM is not
    asked. Arrays that have ended are noted as such.
    """
    tasks = [task for folder in studies_with_arrays(home) for task in sent_tasks(folder)]
    if not tasks:
        return {}
    views = queue_views(task.asked for task in tasks)
    close_ended(tasks, views)
    started = {folder: started_tasks(folder) for folder in {t.wave_folder for t in tasks}}
    found = {}
    for task in tasks:
        if views[task.asked].state == "ended":
            continue
        begun = task.number in started[task.wave_folder]
        for handed in task.handed:
            if not (begun and used_up(home, handed)):
                found[handed.identity] = task.job
    return found


def close_ended(tasks: Iterable[SentTask], views: Mapping[Job, JobView]) -> None:
    """Notes arrays of which every task has ended, so that nobody asks for them again."""
    by_record: dict[tuple[str, str], list[SentTask]] = defaultdict(list)
    for task in tasks:
        by_record[task.record.id, task.record.cluster].append(task)
    for (id, cluster), its in by_record.items():
        if all(views[task.asked].state == "ended" for task in its):
            said = sorted({views[task.asked].ended_as or "ended" for task in its})
            with suppress(OSError):  # a home that may only be read
                JobRecords(its[0].study_folder).end(id, ", ".join(said), cluster)


def made_for(home: Home, handed: Handed) -> Attempt | None:
    """The newest attempt that a task has made at a trial it was handed; None before the first."""
    for attempt in reversed(attempts(home.trial(handed.identity))):
        claim = attempt.claim()
        if claim is not None and claim.token == handed.token:
            return attempt
    return None


def used_up(home: Home, handed: Handed) -> bool:
    """Whether its task won't try the trial again: an attempt has ended, and not by preemption."""
    attempt = made_for(home, handed)
    end = attempt.end() if attempt is not None else None
    return end is not None and end.state != "preempted"
