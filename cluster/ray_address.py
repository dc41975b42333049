"""An existing Ray cluster, used from one of its nodes."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from cluster.contract import ClusterError, Resources
from cluster.local import offered_by_ray
from cluster.ray_notices import silence_notices
from cluster.ray_probe import NO_NODE, ours
from cluster.ray_settings import environment_with, read_environment_again
from cluster.reaching import host_and_port, reach
from cluster.shared_home import refuse_unless_shared

_FROM_OUTSIDE = "From outside of the cluster: --on ray:http://HOST:8265 (its dashboard)."
_TRY_FOR_S = 15.0
_LEAST_S = 10.0
_LIMIT_S = 30.0
"""After which an address counts as that of no Ray cluster."""
TOKEN_HINT = (
    "Set RAY_AUTH_TOKEN_PATH to a file with the cluster's token (or put it into ~/.ray/auth_token)."
)


class RayCluster:
    """Connects to the Ray whose head is at HOST:PORT, and leaves it running.

    This process has to be on a node of that cluster, since Ray's shared memory and Tune's callbacks
    are used directly. Its settings, such as those of the network, are the cluster's own.
    """

    name = "ray"

    def __init__(self, address: str, home: Path | None = None) -> None:
        """`home`: the ORRERY_HOME that every node has to see; None: not looked at."""
        self._address = address
        self._home = home
        self._connected = False

    def __enter__(self) -> Resources:
        import ray

        address = _checked(self._address)
        if ray.is_initialized():
            here = ray.get_runtime_context().gcs_address
            if here != address:
                raise ClusterError(
                    f"This process is connected to the Ray at {here} already, not to {address}. "
                    "Call ray.shutdown() first."
                )
        else:
            self._connect(address)
        try:
            if self._home is not None:
                refuse_unless_shared(self._home)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return offered_by_ray()

    def need(self, trials: int) -> None:
        """The cluster grows and shrinks by itself, where it does, with what waits in it."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._connected:
            return
        import ray

        self._connected = False
        try:
            ray.shutdown()
        except Exception as problem:  # must not hide the study's result
            logging.getLogger(__name__).warning("Ray did not let go: %s", problem)

    def _connect(self, address: str) -> None:
        import ray

        began = time.monotonic()
        reach(
            address,
            "The Ray cluster",
            f"`ray status` on a node tells its address. {_FROM_OUTSIDE}",
            _TRY_FOR_S,
        )
        _use_own_token()
        _try_in_another_process(address, _LIMIT_S - (time.monotonic() - began))
        self._connected = True
        silence_notices()
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                configure_logging=True,
                logging_level=logging.ERROR,
            )
        except BaseException as error:
            self.__exit__(None, None, None)
            if not isinstance(error, Exception):
                raise
            raise ClusterError(_said_by_ray(address, str(error))) from error


def ray_token() -> str | None:
    """The token of the user's Ray, from where Ray itself looks; None: there is none."""
    said = os.environ.get("RAY_AUTH_TOKEN")
    if said:
        return said.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        return (Path(path) if path else Path.home() / ".ray" / "auth_token").read_text().strip()
    except OSError as error:
        if path:
            raise ClusterError(
                f"RAY_AUTH_TOKEN_PATH '{path}': {error.strerror or error}."
            ) from error
        return None


def _use_own_token() -> None:
    """A Ray that finds a token takes it when it starts a cluster; so does one that joins it."""
    if "RAY_AUTH_MODE" in os.environ or ray_token() is None:
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    read_environment_again()


def _checked(address: str) -> str:
    if address.startswith("ray://"):
        raise ClusterError(
            f"'{address}' is Ray Client's address, through which Tune's callbacks would run on the "
            "other side: that path is not offered. On a node of the cluster: --on ray:HOST:6379. "
            + _FROM_OUTSIDE
        )
    try:
        host, port = host_and_port(address)
        return f"{socket.gethostbyname(host)}:{port}"
    except (ValueError, OSError) as error:
        raise ClusterError(
            f"The Ray cluster '{address}' cannot be found: {error}. Give HOST:PORT of its head, on "
            f"a node of the cluster: e.g. ray:10.0.0.5:6379. {_FROM_OUTSIDE}"
        ) from error


def _try_in_another_process(address: str, limit_s: float) -> None:
    """Connects once in a child: with a wrong address or version Ray may wait for minutes, or end
    the whole process from its native part. Raises `ClusterError` within the limit."""
    words = [sys.executable, "-m", "cluster.ray_probe", address]
    limit_s = max(_LEAST_S, limit_s)
    try:
        done = subprocess.run(
            words,
            env=environment_with({"RAY_JOB_CONFIG_JSON_ENV_VAR": None, "RAY_ADDRESS": None}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"Something listens at {address}, but in {limit_s:.0f} s it did not answer as the head "
            f"of a Ray cluster. Give its GCS port (6379 by default). {_FROM_OUTSIDE}"
        ) from error
    answer = _last_json(done.stdout)
    if answer.get("connected"):
        return
    theirs, mine = answer.get("versions"), ours()
    if theirs:
        raise ClusterError(
            f"The Ray cluster at {address} has {_in_words(theirs)}, this process "
            f"{_in_words(mine)}. Use the same versions of both."
        )
    raise ClusterError(_said_by_ray(address, answer.get("error") or done.stderr))


def _in_words(versions: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in versions.items())


def _last_json(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}


def _said_by_ray(address: str, text: str) -> str:
    """One line for what keeps this process from the cluster."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "ersion mismatch" in text:
        return f"The Ray cluster at {address} has other versions: {' '.join(lines)[:300]}."
    if "uthentic" in text:
        return f"The Ray cluster at {address} wants a token, and not the one given. {TOKEN_HINT}"
    if text == NO_NODE:
        return f"This host is no node of the Ray cluster at {address}. {_FROM_OUTSIDE}"
    said = lines[-1][:300] if lines else "it said nothing"
    return f"The Ray cluster at {address} cannot be used from here: {said}. {_FROM_OUTSIDE}"
