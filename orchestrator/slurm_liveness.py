"""Whether jobs of SLURM whose processes no longer beat have ended: their queue is asked, once for
all of them, and its answer kept for some seconds.

Only asked about a process whose heartbeat is old. So a job that the queue says has ended counts as
alive for as long as its process still writes: its node may only be cut off from SLURM.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cluster.slurm.queue import JobView

KEPT_S = 10.0
Life = Literal["alive", "dead", "unknown"]
Look = Callable[[Iterable[str]], Mapping[str, Life]]


def life_of_job(job: str, cluster: str = "") -> Life:
    """Whether a process of that job, which no longer beats, has ended: "dead", or "unknown", as it
    is for a job of another cluster than the one that can be asked here."""
    return _queue.life(f"{job}@{cluster}" if cluster else job)


@contextmanager
def asked_together() -> Iterator[Asked]:
    """Inside, a job is "unknown" and noted if the queue would have to be asked for it. `Asked.ask`
    then asks for all of them in one query."""
    before, asked = _deferring(), Asked(_queue)
    _here.asked = asked
    try:
        yield asked
    finally:
        _here.asked = before


@dataclass(eq=False)
class Queue:
    """What `look` has said of jobs, for `KEPT_S` seconds."""

    look: Look
    _said: dict[str, tuple[float, Life]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def life(self, job: str) -> Life:
        said = self._said.get(job)
        if said is not None and time.monotonic() - said[0] < KEPT_S:
            return said[1]
        if (asked := _deferring()) is not None:
            asked.jobs.add(job)
            return "unknown"
        self.ask([job])
        return self._said[job][1]

    def ask(self, jobs: Iterable[str]) -> None:
        """One query for these jobs."""
        wanted = sorted(set(jobs))
        with self._lock:
            found = self.look(wanted)
            now = time.monotonic()
            self._said.update({job: (now, found.get(job, "unknown")) for job in wanted})


@dataclass(eq=False)
class Asked:
    """Jobs that the queue is still to be asked for."""

    queue: Queue
    jobs: set[str] = field(default_factory=set)

    def ask(self) -> None:
        """Asks for all of them, if there are any."""
        if self.jobs:
            self.queue.ask(self.jobs)


_here = threading.local()


def _deferring() -> Asked | None:
    """What notes jobs for later in this thread; None where each is asked for at once."""
    asked: Asked | None = getattr(_here, "asked", None)
    return asked


def _by_slurm(jobs: Iterable[str]) -> Mapping[str, Life]:
    """By the answer that others in this process share; "unknown" where there is no SLURM."""
    from cluster.slurm.records import Job
    from orchestrator.queue_views import queue_views

    asked = {job: Job(*_id_and_cluster(job)) for job in jobs}
    views = queue_views(asked.values())
    return {job: _life(views[key]) for job, key in asked.items()}


def _id_and_cluster(job: str) -> tuple[str, str, str]:
    """Fields of a `Job` of any name, from `12_3@cluster`."""
    id, _, cluster = job.partition("@")
    return id, "", cluster


def _life(view: JobView) -> Life:
    """Waiting in the queue again, a job has ended before: its processes were on no node by then."""
    return "dead" if view.state in ("ended", "queued") else "unknown"


def unknown_text(job: str) -> str:
    """One line for a trial whose SLURM job can be neither seen nor asked for."""
    return (
        f"SLURM job {job} has not been heard of, and its queue does not tell here whether it has "
        f"ended: ask where squeue works, or once it is gone for certain, scancel {job}"
    )


_queue = Queue(_by_slurm)
