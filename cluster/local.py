"""This machine: a Ray of our own, that no other process attaches to and that dies with us."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from cluster.contract import ClusterError, Resources

OBJECT_STORE_BYTES = 256 * 1024 * 1024

# A Ray socket's path has to fit in 107 bytes, so its folder is a short one.
_SOCKET_ROOT = Path("/tmp")
_PREFIX = "orrery-ray-"
_LOCK = "in-use"


class LocalCluster:
    """Starts Ray on this machine; the Ray this process has already started is used as it is."""

    name = "local"

    def __init__(self, cpus: int | None = None) -> None:
        self._cpus = cpus
        self._folder: Path | None = None
        self._lock: int | None = None

    def __enter__(self) -> Resources:
        import ray

        if not ray.is_initialized():
            self._start()
        found = ray.cluster_resources()
        return Resources(
            cpus=found.get("CPU", 0.0),
            gpus=found.get("GPU", 0.0),
            memory_gib=found.get("memory", 0.0) / 2**30,
        )

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
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _start(self) -> None:
        import ray

        root = _SOCKET_ROOT if _SOCKET_ROOT.is_dir() else Path(tempfile.gettempdir())
        _remove_leavings(root)
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock = _hold(self._folder)
        # RAY_ADDRESS of the user's shell names a cluster that is none of ours
        os.environ.pop("RAY_ADDRESS", None)
        # a trial that asks for no GPU sees none: else all of them would crowd onto the first
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        # nothing of a study is told to Ray's makers, unless its user wants that
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            with _on_the_loopback_address():
                ray.init(
                    address="local",
                    num_cpus=self._cpus or usable_cpus(),
                    include_dashboard=False,
                    dashboard_host="127.0.0.1",
                    object_store_memory=OBJECT_STORE_BYTES,
                    log_to_driver=False,
                    configure_logging=True,
                    logging_level=logging.ERROR,
                    _temp_dir=str(self._folder),
                )
        except BaseException as error:
            self.__exit__(None, None, None)  # what has started of it
            if not isinstance(error, Exception):
                raise
            raise ClusterError(
                f"Ray did not start on this machine: {error}. See: orrery doctor"
            ) from error


@contextmanager
def _on_the_loopback_address() -> Iterator[None]:
    """A Ray that starts inside listens on 127.0.0.1 alone: whoever reaches its ports runs code.

    On Linux it listens on every address of the host, even if told `_node_ip_address`; this setting
    makes it behave as on a laptop. Its processes inherit the variable.
    """
    from ray._private import ray_constants

    variable = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    before = os.environ.get(variable), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[1]
        if before[0] is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before[0]


def _hold(folder: Path) -> int:
    """Marks a folder as in use until this process ends, however it ends; gives the open file."""
    import fcntl

    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _remove_leavings(root: Path) -> None:
    """Folders of Rays whose drivers were killed: nobody else removes them. One whose lock is held
    is in use, by a process of this or of another container."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid() or not (folder / _LOCK).exists():
                continue
            handle = _hold(folder)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


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
