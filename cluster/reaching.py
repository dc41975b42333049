"""Whether anything answers at an address, within a limit."""

from __future__ import annotations

import socket
import time

from cluster.contract import ClusterError

REACH_LIMIT_S = 30.0
_TRY_LIMIT_S = 5.0
_PAUSE_S = 1.0


def host_and_port(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT` in parts. Raises `ValueError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"'{address}' is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def reach(address: str, what: str, hint: str, limit_s: float = REACH_LIMIT_S) -> None:
    """Connects to `address` (HOST:PORT), trying again until the limit. Raises `ClusterError`.

    A host whose name is not known is not tried again.
    """
    host, port = host_and_port(address)
    deadline = time.monotonic() + limit_s
    while True:
        left = deadline - time.monotonic()
        try:
            socket.create_connection(
                (host, port), timeout=max(0.1, min(_TRY_LIMIT_S, left))
            ).close()
            return
        except OSError as error:
            unknown = isinstance(error, socket.gaierror)
            if unknown or deadline - time.monotonic() < _PAUSE_S:
                tried = "" if unknown else f" for {limit_s:g} s"
                raise ClusterError(
                    f"{what} at {address} cannot be reached from {socket.gethostname()}: tried to "
                    f"connect{tried}: {error.strerror or error}. {hint}"
                ) from error
            time.sleep(_PAUSE_S)
