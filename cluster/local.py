"""This machine: a Ray of our own, that no other process attaches to and that dies with us."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from cluster.contract import ClusterError, NodeSize, Resources
from cluster.ray_folder import RayFolder
from cluster.ray_notices import silence_notices

OBJECT_STORE_BYTES = 256 * 1024 * 1024
_TOO_SLOW = "timed out during startup"
"""What Ray says when its processes are not up in half a minute: on a busy machine that happens, and
its limit is fixed. The second time its files are read from memory."""


class LocalCluster:
    """Starts Ray on this machine; the Ray this process has already started is used as it is."""

    name = "local"

    def __init__(self, cpus: int | None = None) -> None:
        """`cpus`: how many of this machine's. Default: those this process may use."""
        self._cpus = cpus
        self._folder: RayFolder | None = None

    def __enter__(self) -> Resources:
        import ray

        if not ray.is_initialized():
            self._start()
        return offered_by_ray()

    def need(self, trials: int) -> None:
        """There is no more of this machine, and no less."""

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
        self._folder.remove()
        self._folder = None

    def _start(self, tries: int = 2) -> None:
        import ray

        self._folder = RayFolder()
        # RAY_ADDRESS of the user's shell names a cluster that is none of ours
        os.environ.pop("RAY_ADDRESS", None)
        # a trial that asks for no GPU sees none: else all of them would crowd onto the first
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        # nothing of a study is told to Ray's makers, unless its user wants that
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        silence_notices()
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
                    _temp_dir=str(self._folder.path),
                )
        except BaseException as error:
            self.__exit__(None, None, None)  # what has started of it
            if not isinstance(error, Exception):
                raise
            if tries > 1 and _TOO_SLOW in str(error):
                return self._start(tries - 1)
            raise ClusterError(
                f"Ray did not start on this machine: {error}. See: orrery doctor"
            ) from error


def offered_by_ray() -> Resources:
    """What the living nodes of the Ray that this process is connected to have."""
    import ray

    sizes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Resources(
        tuple(
            NodeSize(
                cpus=size.get("CPU", 0.0),
                gpus=size.get("GPU", 0.0),
                memory_gib=size.get("memory", 0.0) / 2**30,
            )
            for size in sizes
        )
    )


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
