"""The tasks that a driver follows: what has come of the trials they were handed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cluster.slurm.queue import EndedAs, JobView
from cluster.slurm.records import Job
from orchestrator.array.in_queue import made_for
from orchestrator.array.waves import Handed, SentTask, started_tasks
from orchestrator.attempts import attempts, outcomes
from orchestrator.home import Home
from orchestrator.records import Failure, State

SETTLE_S = 5.0
"""So long after a task was seen to have ended, a file server may still hide what it wrote last."""

_RAN: frozenset[EndedAs | None] = frozenset({"completed", "failed", None})
"""Ends of a task that had its turn; without accounting, one that was cancelled looks the same."""


@dataclass(frozen=True)
class News:
    """What has come of one trial that was handed to a task."""

    key: str
    kind: Literal["started", "ended", "failed", "busy", "again"]
    """`failed`: its attempt has recorded why, or was lost (`lost`). `again`: its task ended, for
    another's sake, before its turn came. `busy`: another process works on it."""
    state: State = "running"
    failure: Failure | None = None
    lost: str = ""
    memory_kill: bool = False


class Blind(Exception):
    """Tasks have run and none has said that it started: their nodes do not see the home."""

    def __init__(self, task: SentTask, view: JobView, nodes: Sequence[str]) -> None:
        super().__init__(task.job)
        self.task, self.view, self.nodes = task, view, nodes


@dataclass
class FollowedTask:
    """A task, and which of its trials are out: key of the feed → what was handed."""

    task: SentTask
    out: dict[str, Handed]
    view: JobView
    told_started: set[str] = field(default_factory=set)
    ended_at_s: float | None = None


@dataclass
class Followed:
    """All tasks of which something is still to come."""

    home: Home
    tasks: dict[str, FollowedTask] = field(default_factory=dict)
    """By job."""
    any_started: bool = False
    tell: Callable[[str], object] = print
    _mute: dict[str, str] = field(default_factory=dict)
    """Nodes of tasks that have ended, and never started: of these, nothing is concluded yet."""

    def add(self, task: SentTask, out: Mapping[str, Handed]) -> None:
        self.tasks[task.job] = FollowedTask(task, dict(out), JobView(task.job, "queued"))

    def take_views(self, views: Mapping[Job, JobView]) -> bool:
        """Takes what SLURM says now; whether any task is in another state than before."""
        changed = False
        for job, followed in self.tasks.items():
            view = views.get(followed.task.asked) or JobView(job, "unknown")
            changed |= view.state != followed.view.state
            followed.view = view
            if view.state != "ended":
                followed.ended_at_s = None
            elif followed.ended_at_s is None:
                followed.ended_at_s = time.monotonic()
        return changed

    def read(self) -> list[News]:
        """What the files tell since the last time. Looks only into tasks that have begun or
        ended. Raises `Blind`."""
        news: list[News] = []
        marks = {
            folder: started_tasks(folder)
            for folder in {followed.task.wave_folder for followed in self.tasks.values()}
        }
        self.any_started |= any(marks.values())
        for job, followed in list(self.tasks.items()):
            started = followed.task.number in marks[followed.task.wave_folder]
            if not started and followed.view.state != "ended":
                continue
            news += self._of_files(followed)
            if followed.out and followed.view.state == "ended":
                settled = time.monotonic() - (followed.ended_at_s or 0.0) >= SETTLE_S
                if settled:
                    news += self._of_ended(followed, started)
            if not followed.out and followed.view.state == "ended":
                del self.tasks[job]
        return news

    def _of_files(self, followed: FollowedTask) -> Iterable[News]:
        for key, handed in list(followed.out.items()):
            known = outcomes(self.home.trial(handed.identity))
            if known and known[-1].number >= handed.outcome_number:
                del followed.out[key]
                yield News(key, "ended", "done")
                continue
            mine = made_for(self.home, handed)
            if mine is None:
                continue
            end = mine.end()
            if end is None and key not in followed.told_started:
                followed.told_started.add(key)
                yield News(key, "started")
            if end is not None and end.state in ("failed", "pruned", "cancelled"):
                del followed.out[key]
                kind: Literal["failed", "ended"] = "failed" if end.state == "failed" else "ended"
                yield News(key, kind, end.state, end.failure)

    def _of_ended(self, followed: FollowedTask, started: bool) -> Iterable[News]:
        """What is still out of a task that will not come back."""
        view = followed.view
        if not started and not self.any_started and view.ended_as in _RAN:
            self._doubt(followed)
            return
        any_made = any(made_for(self.home, handed) for handed in followed.task.handed)
        for key, handed in followed.out.items():
            tries = attempts(self.home.trial(handed.identity))
            claim = tries[-1].claim() if tries else None
            mine = made_for(self.home, handed)
            if mine is None and claim is not None and tries[-1].life() != "dead":
                yield News(key, "busy")
            elif mine is None and any_made:
                yield News(key, "again")
            else:
                said = f"its job {view.id} ended" + (
                    f" as {view.ended_as}" if view.ended_as else ""
                )
                where = f" on {view.node}" if view.node else ""
                memory = view.ended_as == "out_of_memory" and mine is not None
                yield News(key, "failed", lost=said + where, memory_kill=memory)
        followed.out.clear()

    def _doubt(self, followed: FollowedTask) -> None:
        """A task that had its turn has not started its work, nor has any other: its node may be
        at fault, or the home be unseen. Another node that does the same tells, or that nothing is
        left that could tell otherwise. A task that starts speaks for the home: then it is the node
        that failed. Raises `Blind`."""
        job, node = followed.task.job, followed.view.node
        if job not in self._mute:
            self._mute[job] = node
            nodes = sorted({name for name in self._mute.values() if name})
            if len(nodes) < 2 and len(self._mute) == 1 and len(self.tasks) > 1:
                self.tell(
                    f"job {job} ended on {node or 'its node'} and never started its work; whether "
                    f"it is that node or the home, the next will tell. It said: {followed.task.log}"
                )
        nodes = sorted({name for name in self._mute.values() if name})
        if len(nodes) > 1 or self.tasks.keys() <= self._mute.keys():
            raise Blind(followed.task, followed.view, nodes)
