"""This machine: a Ray of our own, that no other process attaches to and that dies with us."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cluster.contract import ClusterError, Resources

OBJECT_STORE_BYTES = 256 * 1024 * 1024

# A Ray socket's path has to fit in 107 bytes, so its folder is a short one.
_SOCKET_ROOT = Path("/tmp")


class LocalCluster:
    """Starts Ray on this machine; the Ray this process has already started is used as it is."""

    name = "local"

    def __init__(self, cpus: int | None = None) -> None:
        self._cpus = cpus
        self._folder: Path | None = None

    def __enter__(self) -> Resources:
        import ray

        if not ray.is_initialized():
            self._start()
        found = ray.cluster_resources()
        return Resources(cpus=found.get("CPU", 0.0), gpus=found.get("GPU", 0.0))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is None:
            return
        import ray

        with suppress(Exception):  # a Ray that fails to stop must not hide the study's result
            ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def _start(self) -> None:
        import ray

        root = _SOCKET_ROOT if _SOCKET_ROOT.is_dir() else Path(tempfile.gettempdir())
        self._folder = Path(tempfile.mkdtemp(prefix="orrery-", dir=root))
        # RAY_ADDRESS of the user's shell names a cluster that is none of ours
        os.environ.pop("RAY_ADDRESS", None)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        warnings.filterwarnings("ignore", message=".*RAY_ACCEL_ENV_VAR.*")
        try:
            ray.init(
                address="local",
                num_cpus=self._cpus or usable_cpus(),
                _node_ip_address="127.0.0.1",
                include_dashboard=False,
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                configure_logging=True,
                logging_level=logging.ERROR,
                _temp_dir=str(self._folder),
            )
        except Exception as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            raise ClusterError(
                f"Ray did not start on this machine: {error}. See: orrery doctor"
            ) from error


def usable_cpus() -> int:
    """CPUs this process may use: its affinity, and the quota of its control group."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count
