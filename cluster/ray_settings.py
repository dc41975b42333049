"""What we set wherever we start a Ray that other hosts take part in, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KEEPALIVE_S = 5.0
HEALTH_PERIOD_S = 1.0
HEALTH_LIMIT_S = 2.0
HEALTH_FAILURES = 3
HEAD_GONE_AFTER_S = 30.0


def network_settings(slow_network: float = 1.0) -> dict[str, str]:
    """Ray's settings under which a node that falls silent is noticed within half a minute.

    A node that is cut off sends no reset: packets vanish, and its peers wait. Ray's health checks
    find such a node after about half a minute, but that alone does not free the calls in flight
    there, which wait on connections that look alive until the kernel gives up on them after many
    minutes. So both ends of every connection ping (keepalive), and one whose pings go unanswered
    is closed, whereupon Ray starts the tasks elsewhere. `slow_network` multiplies every limit, for
    networks or hosts so busy that they are silent for seconds while nothing is wrong.

    Processes read them as they start, so they have to be in the environment before the head, each
    worker node and the driver. Not set for the Ray of a single machine: there is no network to
    lose there, and what is silent is only busy, or a laptop that sleeps.
    """

    def milliseconds(seconds: float) -> str:
        return str(int(seconds * slow_network * 1000))

    return {
        "RAY_grpc_client_keepalive_time_ms": milliseconds(KEEPALIVE_S),
        "RAY_grpc_client_keepalive_timeout_ms": milliseconds(KEEPALIVE_S),
        "RAY_grpc_keepalive_time_ms": milliseconds(KEEPALIVE_S),
        "RAY_grpc_keepalive_timeout_ms": milliseconds(KEEPALIVE_S),
        "RAY_health_check_period_ms": milliseconds(HEALTH_PERIOD_S),
        "RAY_health_check_timeout_ms": milliseconds(HEALTH_LIMIT_S),
        "RAY_health_check_failure_threshold": str(HEALTH_FAILURES),
        # a node whose head has died leaves: our heads never come back under their address
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(
            max(1, int(HEAD_GONE_AFTER_S * slow_network))
        ),
    }


def ray_environment(token_path: Path, slow_network: float = 1.0) -> dict[str, str | None]:
    """The environment of every process of a Ray of several hosts; None: not to be set.

    Whoever reaches Ray's ports runs code, and on Linux it listens on every address of a host,
    whatever it is told; so it answers only those who know the token.
    """
    return {
        **network_settings(slow_network),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_AUTH_TOKEN": None,  # it would win over the file
        "RAY_ADDRESS": None,  # of the user's shell: a cluster that is none of ours
        # a trial that asks for no GPU sees none: else all of them would crowd onto the first
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        # nothing of a study is told to Ray's makers, unless its user wants that
        "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0"),
        # where /dev/shm is small, as in containers, objects go into the temporary folder
        "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
    }


def environment_with(changes: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment with changes, for a child."""
    merged: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


@contextmanager
def in_environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Within the block this process's environment has the changes, and Ray in it has read them."""
    before = {name: os.environ.get(name) for name in changes}
    _apply(changes)
    try:
        yield
    finally:
        _apply(before)


def _apply(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    read_environment_again()


def read_environment_again() -> None:
    """Ray's native part remembers settings and token as it has first read them; now it forgets."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
