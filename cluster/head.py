"""A Ray head beside the driver, that nodes on other hosts join."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.contract import ClusterError, ClusterRequest
from cluster.local import OBJECT_STORE_BYTES
from cluster.own_address import own_address
from cluster.ray_folder import RayFolder
from cluster.ray_settings import in_environment, ray_environment
from cluster.sources import Sources, job_from_snapshot


@dataclass(frozen=True)
class HeadAddress:
    """What a node needs to join."""

    address: str
    """HOST:PORT."""
    token_path: Path
    """A file in the study's folder, readable by its owner alone, that every node sees."""


class Head:
    """A head for one driver. It runs no trials, and dies with this process, however that ends.

    Its processes are this process's own, under a token, ports and a folder that no other has.
    """

    def __init__(self, request: ClusterRequest, sources: Sources | None = None) -> None:
        """With `sources` all workers import from there, and none from the driver's folders."""
        self._request = request
        self._sources = sources
        self._started: ExitStack | None = None

    def start(self) -> HeadAddress:
        """Starts it and connects this process (`ray.is_initialized()`).

        To be called from the main thread: the kernel ends Ray's processes with the thread that has
        started them. Raises `ClusterError` with nothing left behind.
        """
        import ray

        if ray.is_initialized():
            raise ClusterError(
                "This process has a Ray already, and nodes of other hosts need one of their own. "
                "Call ray.shutdown() first, or run the study in a process of its own."
            )
        host = own_address(self._request.slurm)
        with ExitStack() as started:
            folder = RayFolder()
            started.callback(folder.remove)
            token = self._new_token(started)
            settings = ray_environment(token, self._request.slurm.slow_network)
            if self._sources is not None:
                settings |= self._sources.environment()
            started.enter_context(in_environment(settings))
            started.callback(_shut_down)
            address = self._start(host, folder.path)
            self._started = started.pop_all()
        return HeadAddress(address, token)

    def stop(self) -> None:
        """Ends it with everything on it; its nodes leave within about half a minute by themselves.
        May be called twice, and without a start."""
        started, self._started = self._started, None
        if started is not None:
            started.close()

    def _start(self, host: str, folder: Path) -> str:
        import ray

        try:
            ray.init(
                address="local",
                num_cpus=0,
                num_gpus=0,
                include_dashboard=False,
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                job_config=job_from_snapshot() if self._sources is not None else None,
                log_to_driver=False,
                configure_logging=True,
                logging_level=logging.ERROR,
                _node_ip_address=host,
                _temp_dir=str(folder),
            )
        except Exception as error:
            raise ClusterError(
                f"No Ray head started on {host}: {error}. If that is no address of this host, give "
                "one that the nodes reach: -s slurm.head_address=…"
            ) from error
        return str(ray.get_runtime_context().gcs_address)

    def _new_token(self, started: ExitStack) -> Path:
        """A secret file that lies where every node sees it."""
        folder = self._request.folder / "head"
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.token"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            started.callback(path.unlink, missing_ok=True)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32))
        except OSError as error:
            raise ClusterError(
                f"The study's folder '{folder}' cannot be written: {error.strerror or error}."
            ) from error
        return path


def _shut_down() -> None:
    import ray

    with suppress(Exception):  # a Ray that fails to stop must not hide the study's result
        ray.shutdown()
