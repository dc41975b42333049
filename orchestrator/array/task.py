"""What an array task runs: its trials one after the other, without Ray."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cluster.slurm.environment import job_id, rank
from orchestrator import cancelling
from orchestrator.array.leaving import Leaving
from orchestrator.array.trial_runs import (
    is_open,
    may_run,
    run_here_or_apart,
    run_one,
    settle_lost_rank,
    was_lost,
)
from orchestrator.array.waves import TaskFile, mark_started, read_task
from orchestrator.engine import notice
from orchestrator.engine.job import RankLost
from orchestrator.engine.ticket import Ticket

logger = logging.getLogger(__name__)


def run_task(task_file: str) -> None:
    """Runs every trial of a task that has no outcome yet. A trial that fails stops no other.

    Told to leave, the trial at hand saves and ends, and the task puts itself back into the queue.
    With several ranks srun starts this in each of them: the first leads, the others follow it.
    """
    _tell_in_the_log()
    path = Path(task_file)
    task = read_task(path)
    os.environ.setdefault("OMP_NUM_THREADS", str(task.cpus))
    if task.ranks > 1 and rank() > 0:
        from orchestrator.array.srun_ranks import follow_leader

        follow_leader(path)
        return
    mark_started(path, job_id())
    notice_file = path.with_name(f"notice-{path.stem.removeprefix('task-')}")
    with Leaving(notice_file, task.leave_within_s) as leaving:
        if task.ranks > 1:
            _run_ranked(path, task)
        else:
            _run_alone(task)
        open_ = (ticket for ticket in task.tickets if is_open(ticket))
        if notice.wanted() and not all(_is_cancelled(task, ticket) for ticket in open_):
            leaving.go()


def _tell_in_the_log() -> None:
    """What becomes of the trials goes into the job's log, beside submitit's own lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    ours = logging.getLogger("orchestrator")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    ours.propagate = False


def _run_alone(task: TaskFile) -> None:
    """Each trial in this process for as long as that is safe, then in processes of their own."""
    apart = not task.reusable
    for ticket in _open_tickets(task):
        # past its time limit a trial's whole process is ended, as it is by a trial that crashes
        alone = apart or ticket.time_limit_s is not None or was_lost(ticket)
        if not run_here_or_apart(ticket, alone, task.lost_without_progress):
            apart = True


def _run_ranked(path: Path, task: TaskFile) -> None:
    from orchestrator.array.srun_ranks import SrunRanks

    with SrunRanks(path, task.ranks) as launch:
        for ticket in _open_tickets(task):
            try:
                run_one(ticket, launch)
            except RankLost as error:
                settle_lost_rank(ticket, error, task.lost_without_progress)


def _open_tickets(task: TaskFile) -> Iterator[Ticket]:
    """The tickets that are to be tried, as long as nobody has told this task to leave."""
    for ticket in task.tickets:
        if notice.wanted():
            return
        if _is_cancelled(task, ticket):
            logger.info("%s is cancelled", ticket.label)
        elif may_run(ticket, task.lost_without_progress):
            yield ticket


def _is_cancelled(task: TaskFile, ticket: Ticket) -> bool:
    return cancelling.asked(Path(task.study_folder), ticket.identity)
