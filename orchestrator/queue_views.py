"""What SLURM's queue says of jobs, asked once where several in this process want to know."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping

from cluster.contract import ClusterError
from cluster.slurm.queue import JobView, look_for
from cluster.slurm.records import Job

logger = logging.getLogger(__name__)

FRESH_S = 5.0

_lock = threading.Lock()
_seen: dict[tuple[str, str, Job], tuple[float, JobView]] = {}
"""By the SLURM that was asked and the job."""


def queue_views(jobs: Iterable[Job], fresh_s: float = FRESH_S) -> Mapping[Job, JobView]:
    """The view of each job or array task, by one look for all of them; answers that are less than
    `fresh_s` old are used again. Where SLURM can't be asked, each is "unknown"."""
    from cluster.slurm.commands import Slurm

    asked = list(dict.fromkeys(jobs))
    of = (shutil.which("squeue") or "", os.environ.get("SLURM_CONF", ""))
    with _lock:
        since_s = time.monotonic() - fresh_s
        if any((*of, job) not in _seen or _seen[*of, job][0] <= since_s for job in asked):
            views: Mapping[Job, JobView] = {}
            silence = ""
            try:
                views = look_for(Slurm.find(), asked)
            except ClusterError as error:
                silence = str(error)
                logger.info("SLURM's queue is not known: %s", error)
            now_s = time.monotonic()
            _seen.clear()  # what nobody asks for any more is not kept
            for job in asked:
                unknown = JobView(job.id, "unknown", why=silence, unanswered=True)
                _seen[*of, job] = (now_s, views.get(job) or unknown)
        return {job: _seen[*of, job][1] for job in asked}
