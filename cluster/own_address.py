"""The address of this host under which the nodes of its cluster reach it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator

from cluster.contract import ClusterError
from cluster.slurm.settings import SlurmSettings

_ANYWHERE = "198.51.100.1"
"""An address for documentation, which lies behind the default route. Nothing is sent there."""
_NODES_ASKED = 8


def own_address(settings: SlurmSettings) -> str:
    """What `head_address` says; else that of the interface behind which SLURM's nodes lie; else
    that of the default route. Sends nothing. Raises `ClusterError` if there is none."""
    if settings.head_address is not None:
        try:
            return socket.gethostbyname(settings.head_address)
        except OSError as error:
            raise ClusterError(
                f"slurm.head_address '{settings.head_address}' is no address of a host: {error}."
            ) from error
    for target in (*_nodes(settings.partition), _ANYWHERE, socket.gethostname()):
        address = _towards(target)
        if address is not None and not address.startswith("127."):
            return address
    raise ClusterError(
        "No address of this host was found that other hosts could reach: there is only the "
        "loopback. Give it: -s slurm.head_address=…"
    )


def _towards(target: str) -> str | None:
    """The address that packets to a host would be sent from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))  # connecting a datagram socket only looks up the route
            return str(probe.getsockname()[0])
        except OSError:
            return None


def _nodes(partition: str | None) -> Iterator[str]:
    """Addresses of some nodes of SLURM, where there is a SLURM."""
    if shutil.which("sinfo") is None:
        return
    words = ["sinfo", "--noheader", "--Node", "--format=%o"]
    words += [f"--partition={partition}"] if partition else []
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return
    yield from answer.stdout.split()[:_NODES_ASKED]
