"""The process in which a trial runs again: ``python -m orchestrator.replaying.child JOB``.

It ends with the process that started it: that one holds the other end of its standard input.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator.engine.ticket import Ticket
from workloads.contract import TrialStopped


class ReplayJob(msgspec.Struct, frozen=True):
    """One attempt in a scratch home. `stop_after`: the step behind which nothing is compared."""

    ticket: Ticket
    stop_after: int | None = None
    gpus: float = 0.0
    """GPUs of each rank, where there are several ranks."""


def main(path: Path) -> int:
    """0 if it ran to its end or was stopped, 1 if it failed; its files tell how."""
    from orchestrator.engine.worker import AttemptFailed, run_attempt

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    threading.Thread(target=_end_with_parent, name="replay-parent", daemon=True).start()
    job = msgspec.json.decode(path.read_bytes(), type=ReplayJob)

    def report(step: int, metrics: Mapping[str, float | None]) -> None:
        if job.stop_after is not None and step > job.stop_after:
            raise TrialStopped

    try:
        if job.ticket.ranks == 1:
            run_attempt(job.ticket, report)
        else:
            from cluster import LocalCluster
            from orchestrator.engine.ranks import Ranks

            with LocalCluster(cpus=job.ticket.ranks), Ranks(gpus=job.gpus) as launch:
                run_attempt(job.ticket, report, None, launch)
    except AttemptFailed:
        return 1
    return 0


def _end_with_parent() -> None:
    """What the parent starts must not outlive it, even if it is killed."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
