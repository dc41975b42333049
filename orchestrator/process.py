"""Who a process is, so that another one can tell later whether it still lives."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process on a host. `started` tells a reused pid apart; see `_started`."""

    host: str
    boot: str
    pid: int
    started: float
    slurm_job: str | None = None
    """As SLURM's queue lists it: `12`, or `12_3` for a task of an array."""
    slurm_cluster: str = ""
    """The name of that SLURM; empty where it does not tell."""

    @classmethod
    def current(cls) -> Process:
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            boot=boot_key(),
            pid=pid,
            started=_started(pid),
            slurm_job=_slurm_job(),
            slurm_cluster=os.environ.get("SLURM_CLUSTER_NAME", "").lower(),
        )

    def alive_here(self) -> bool | None:
        """Whether it lives, if this host can tell: None for a process of another host."""
        if self.boot != boot_key():
            # the same host name under another boot means the host was started anew
            return False if self._rebooted() or self._before_requeue() else None
        import psutil

        try:
            zombie = psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
            return not zombie and abs(_started(self.pid) - self.started) < 1.0
        except psutil.NoSuchProcess:
            return False

    def _rebooted(self) -> bool:
        ours, theirs = boot_key().split("/"), self.boot.split("/")
        return self.host == socket.gethostname() and ours[0] != theirs[0] and ours[1] == theirs[1]

    def _before_requeue(self) -> bool:
        """Whether it is of this very job, which SLURM has put back into the queue since: before it
        starts a job anew, its processes are gone."""
        again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        return again and self.slurm_job is not None and self.slurm_job == _slurm_job()


def _slurm_job() -> str | None:
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _started(pid: int) -> float:
    """When a process started: in clock ticks since boot, which no change of the clock moves;
    where there is no /proc, in seconds since the epoch. Raises `psutil.NoSuchProcess`."""
    import psutil

    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return float(fields[19])  # field 22 of the whole line: starttime
    except (FileNotFoundError, ProcessLookupError):
        return round(psutil.Process(pid).create_time(), 2)


@lru_cache(maxsize=1)
def boot_key() -> str:
    """`boot id/pid namespace`: equal for two processes exactly if pids mean the same to both."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        import psutil

        return f"{int(psutil.boot_time())}/{socket.gethostname()}"
