"""What SLURM's queue says of jobs, asked once where several in this process want to know."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping

from cluster.contract import ClusterError
from cluster.slurm.queue import JobView, look

logger = logging.getLogger(__name__)

FRESH_S = 5.0

_lock = threading.Lock()
_seen: dict[tuple[str, ...], tuple[float, JobView]] = {}
"""By the SLURM that was asked and the job."""


def queue_views(ids: Iterable[str], fresh_s: float = FRESH_S) -> Mapping[str, JobView]:
    """The view of each job (`12`, `12_3`), by one look for all of them; answers that are less than
    `fresh_s` old are used again. Where SLURM can't be asked, each is "unknown"."""
    from cluster.slurm.commands import Slurm

    asked = list(dict.fromkeys(ids))
    of = (shutil.which("squeue") or "", os.environ.get("SLURM_CONF", ""))
    with _lock:
        since_s = time.monotonic() - fresh_s
        if any((*of, id) not in _seen or _seen[*of, id][0] <= since_s for id in asked):
            views: Mapping[str, JobView] = {}
            try:
                views = look(Slurm.find(), asked)
            except ClusterError as error:
                logger.info("SLURM's queue is not known: %s", error)
            now_s = time.monotonic()
            _seen.clear()  # what nobody asks for any more is not kept
            for id in asked:
                _seen[*of, id] = (now_s, views.get(id) or JobView(id, "unknown"))
        return {id: _seen[*of, id][1] for id in asked}
