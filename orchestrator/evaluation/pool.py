"""Warm Ray actors that measure points: each opens a subject once and takes pieces of its points.

A subject is packed once, by the first worker that opens it, into the object store; the others map
it from there. Workers have two pieces each, so that none waits for this process. One that takes
too long for what it does is ended, as nobody can interrupt a computation; so the point that does it
is found, and given up.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import dropwhile
from textwrap import shorten
from typing import Any, Literal, Protocol

from orchestrator.evaluation.actor import Chunk, Opened, PointWorker, Result
from orchestrator.evaluation.work import Piece, SubjectWork

DEPTH = 2
"""Pieces that a worker has at once: while it measures one, the next is there."""
WAIT_S = 0.5
_NODE_DIED = "its node has died"
"""What Ray says of a worker whose node is gone."""
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_EXIT = re.compile(r"Worker exit type: \w+ Worker exit detail: ")
MOST_SAID = 300
"""Characters of a cause; it ends with a whole word."""
WORTH_OPENING_S = 1.0
"""A further worker opens a subject only where at least so much is left to measure."""


class Keeper(Protocol):
    """Who says which subject may be measured now, and keeps what it comes to."""

    def begin(self, work: SubjectWork) -> bool:
        """Whether this process may measure it now; False: another does, it is asked again."""

    def keep(self, work: SubjectWork, results: Mapping[int, Result]) -> None:
        """Takes results; may give the subject up."""

    def end(self, work: SubjectWork) -> None:
        """Told once, when nothing of a subject that was begun is left or out."""

    def tick(self) -> None:
        """Told about twice a second."""


@dataclass
class _Task:
    """Something that a worker was asked to do."""

    kind: Literal["start", "open", "measure"]
    ref: Any
    work: SubjectWork
    piece: Piece | None = None


@dataclass
class _Head:
    """What a worker does now, and since when as far as this process knows."""

    task: _Task
    since_s: float


@dataclass
class _Worker:
    actor: Any
    work: SubjectWork | None = None
    tasks: deque[_Task] = field(default_factory=deque)
    head: _Head | None = None

    def busy_s(self) -> float:
        """How long it has been at its first task. Its start does not count: it may be that there
        is no place for it yet."""
        if not self.tasks or self.tasks[0].kind == "start":
            return 0.0
        if self.head is None or self.head.task is not self.tasks[0]:
            self.head = _Head(self.tasks[0], time.monotonic())
        return time.monotonic() - self.head.since_s

    @property
    def pieces(self) -> int:
        return sum(task.kind == "measure" for task in self.tasks)


@dataclass
class PoolStats:
    """What a pool has done: `busy_s` is the workers' own time in `measure`, over all."""

    workers: int = 0
    busy_s: float = 0.0
    points: int = 0
    lost: int = 0


class Pool:
    """At most `size` actors, each with what `options` reserves (as `ray.remote` takes them).

    `limit_s`: the most that a point, or opening a subject, may take; None: as long as it wants.
    """

    def __init__(self, size: int, options: Mapping[str, Any], limit_s: float | None = None) -> None:
        self.size, self.options, self.limit_s = size, dict(options), limit_s
        self.stats = PoolStats()
        self._workers: list[_Worker] = []
        self._packed: dict[str, tuple[Any, Any]] = {}
        self._waiting: list[SubjectWork] = []
        self._begun: list[SubjectWork] = []

    def run(self, works: Sequence[SubjectWork], keeper: Keeper) -> None:
        """Blocks until every subject is measured or given up. An interrupt passes through; what
        workers have measured by then is kept."""
        try:
            self._run(works, keeper)
        except KeyboardInterrupt:
            self._take_what_is_there(keeper)
            raise

    def _run(self, works: Sequence[SubjectWork], keeper: Keeper) -> None:
        import ray

        self._waiting, self._begun = list(works), []
        ticked_s = time.monotonic()
        while self._waiting or self._begun:
            self._assign(keeper)
            heads = {worker.tasks[0].ref: worker for worker in self._workers if worker.tasks}
            if heads:
                ready, _ = ray.wait(list(heads), num_returns=1, timeout=WAIT_S)
                for ref in ready:
                    self._take(heads[ref], keeper)
                self._end_those_late(keeper)
            elif self._waiting:
                time.sleep(WAIT_S)  # all that is left is others' now
            self._end_those_over(keeper)
            if time.monotonic() - ticked_s >= WAIT_S:
                ticked_s = time.monotonic()
                keeper.tick()

    def stop(self) -> None:
        """Ends the workers; nothing of them is left."""
        for worker in list(self._workers):
            self._discard(worker)
        self._packed.clear()

    # -- handing out ------------------------------------------------------------------------------

    def _assign(self, keeper: Keeper) -> None:
        for worker in list(self._workers):
            self._feed(worker)
        idle = deque(worker for worker in self._workers if not worker.tasks)
        while idle or len(self._workers) < self.size:
            work = self._next_subject(keeper)
            if work is None:
                return
            worker = idle.popleft() if idle else self._hire(work)
            self._open(worker, work)
            self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        while worker.work is not None and worker.pieces < DEPTH:
            piece = worker.work.take(self._workers_on(worker.work))
            if piece is None:
                return
            ref = worker.actor.measure.remote(worker.work.points(piece))
            worker.tasks.append(_Task("measure", ref, worker.work, piece))

    def _next_subject(self, keeper: Keeper) -> SubjectWork | None:
        """One that nobody has begun, else the one with most left that is worth a further worker."""
        for work in list(self._waiting):
            if keeper.begin(work):
                self._waiting.remove(work)
                self._begun.append(work)
                if work.left:
                    return work
        worth = [
            work
            for work in self._begun
            if work.left
            and ((work.point_s or 1.0) * work.left >= WORTH_OPENING_S or not self._workers_on(work))
        ]
        return max(worth, key=lambda work: work.left, default=None)

    def _workers_on(self, work: SubjectWork) -> int:
        return sum(worker.work is work for worker in self._workers)

    def _hire(self, work: SubjectWork) -> _Worker:
        import ray

        remote = (
            ray.remote(**self.options)(PointWorker) if self.options else ray.remote(PointWorker)
        )
        worker = _Worker(remote.remote())
        worker.tasks.append(_Task("start", worker.actor.here.remote(), work))
        self._workers.append(worker)
        self.stats.workers += 1
        return worker

    def _open(self, worker: _Worker, work: SubjectWork) -> None:
        name = work.spec.subject
        if name not in self._packed:
            self._packed[name] = tuple(worker.actor.pack.options(num_returns=2).remote(work.spec))
        ref = worker.actor.open.remote(work.spec, *self._packed[name])
        worker.work = work
        worker.tasks.append(_Task("open", ref, work))

    # -- taking in --------------------------------------------------------------------------------

    def _take(self, worker: _Worker, keeper: Keeper) -> None:
        import ray

        task = worker.tasks[0]
        try:
            came = ray.get(task.ref)
        except ray.exceptions.RayError as error:
            self._lost(worker, error, keeper)
            return
        worker.tasks.popleft()
        if task.kind == "start":
            return
        if isinstance(came, Opened):
            if came.examples is None:
                task.work.give_up(came.why)
            else:
                task.work.opened(came.examples)
            return
        assert isinstance(came, Chunk)
        assert task.piece is not None
        if not came.begun:
            task.work.untouched(task.piece)
            return
        self.stats.busy_s += came.seconds
        self.stats.points += len(came.results)
        results = task.work.measured(task.piece, came)
        keeper.keep(task.work, results)
        if came.raised is not None:  # by contract that ends the worker
            self._discard(worker)

    def _take_what_is_there(self, keeper: Keeper) -> None:
        import ray

        with suppress(ray.exceptions.RayError):  # the interrupt may have ended Ray, too
            for worker in list(self._workers):
                while worker.tasks and ray.wait([worker.tasks[0].ref], timeout=0)[0]:
                    self._take(worker, keeper)

    def _lost(self, worker: _Worker, error: BaseException, keeper: Keeper) -> None:
        """A worker died: with what it had begun, which is suspect, and with what it had not."""
        self.stats.lost += 1
        cause, with_node = _cause(error), _NODE_DIED in str(error)
        task = worker.tasks.popleft()
        if with_node or task.piece is None:
            self._packed.pop(task.work.spec.subject, None)  # it may have been lost with its node
        if task.piece is not None:
            died = task.work.node_lost if with_node else task.work.died
            keeper.keep(task.work, died(task.piece, cause))
        elif not with_node:
            task.work.opening_died(cause)
        self._discard(worker)

    def _end_those_late(self, keeper: Keeper) -> None:
        if self.limit_s is None:
            return
        for worker in [worker for worker in self._workers if worker.busy_s() > self.limit_s]:
            task = worker.tasks.popleft()
            cause = f"took longer than the limit of {self.limit_s:g} s (resources.time_limit_s)"
            if task.piece is None:
                task.work.give_up(f"opening it {cause}")
            else:
                keeper.keep(task.work, task.work.late(task.piece, cause))
            self._discard(worker)

    def _discard(self, worker: _Worker) -> None:
        import ray

        for task in reversed(worker.tasks):
            if task.piece is not None:
                task.work.untouched(task.piece)
        worker.tasks.clear()
        if worker in self._workers:
            self._workers.remove(worker)
        ray.kill(worker.actor)

    def _end_those_over(self, keeper: Keeper) -> None:
        for work in [work for work in self._begun if work.is_over]:
            self._begun.remove(work)
            self._packed.pop(work.spec.subject, None)
            for worker in self._workers:
                if worker.work is work and not worker.tasks:
                    worker.work = None
            keeper.end(work)


def _cause(error: BaseException) -> str:
    """What Ray says of a lost worker, in one line without its advice: the error itself, where one
    was raised, else what became of the process."""
    lines = _COLOURS.sub("", str(error)).splitlines()
    raised = [index for index, line in enumerate(lines) if line.startswith("  File ")]
    if raised:
        lines = list(dropwhile(lambda line: line.startswith(" "), lines[raised[-1] :]))
    said = " ".join(" ".join(line for line in lines if not line.startswith("\t")).split())
    said = _EXIT.sub("", said.partition("Some common causes")[0])
    said = said[max(0, said.find("The actor is dead because")) :]
    return shorten(said, MOST_SAID, placeholder=" …") or type(error).__name__
