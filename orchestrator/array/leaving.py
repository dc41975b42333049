"""A task that is told to leave: its trial saves and ends, and the task goes back into the queue."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType

from cluster.contract import ClusterError
from cluster.slurm.environment import job_id, on_notice
from orchestrator.engine import notice

logger = logging.getLogger(__name__)

STAY_S = 30.0
"""After it was put back into the queue, a task waits to be ended: a task that ends by itself
would count as completed."""


class Leaving:
    """Takes SLURM's notices for this process and, by a file, for the processes it starts.

    A time limit never costs anything: the task is put back into the queue once its trial has
    saved, or after `within_s` at the latest. So is a task that was preempted, where SLURM has not
    done it already; one that somebody cancelled stays cancelled.
    """

    def __init__(self, notice_file: Path, within_s: float) -> None:
        self._file, self._within_s = notice_file, within_s
        self._told = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._requeued = False
        self.cause: str | None = None

    def __enter__(self) -> Leaving:
        self._file.unlink(missing_ok=True)  # of an earlier run of this task
        os.environ[notice.FILE_VARIABLE] = str(self._file)
        on_notice(self._take)
        threading.Thread(target=self._wait, name="orrery-leave", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()

    def go(self) -> None:
        """The trial has saved and ended: puts this task back into the queue."""
        with self._lock:
            if self._requeued:
                return
            self._requeued = requeue(self.cause or notice.NO_CAUSE)
        if self._requeued:
            time.sleep(STAY_S)

    def _take(self, cause: str) -> None:
        """In a signal handler, which a second notice may interrupt: the event's lock is no place
        to be in twice."""
        if self.cause is None:
            self.cause = cause
            notice.give(cause)
            self._told.set()

    def _wait(self) -> None:
        self._told.wait()
        if self._done.is_set():
            return
        try:
            notice.write(self._file, self.cause or notice.NO_CAUSE)
        except OSError as error:
            logger.error("The notice to leave cannot be passed on: %s", error)
        if not self._done.wait(self._within_s):
            self.go()


def requeue(cause: str) -> bool:
    """Puts this process's task back into the queue. False where SLURM did that, or the task was
    cancelled, or it cannot be: then whoever follows the study submits the trials again."""
    from cluster.slurm.commands import Slurm
    from cluster.slurm.queue import look

    job = job_id()
    if job is None:
        return False
    try:
        slurm = Slurm.find()
        view = look(slurm, [job])[job]
        if view.state != "running" or view.said not in ("RUNNING", "SUSPENDED", "STOPPED"):
            logger.warning("%s: SLURM says %s of %s", cause, view.said or "nothing", job)
            return False
        slurm.requeue(job)
    except ClusterError as error:
        logger.error("%s could not be put back into the queue: %s", job, error)
        return False
    return True
