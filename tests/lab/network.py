"""The lab's network: a bridge, and a cable from it to each node that can be cut without a sound."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from tests.lab.errors import LabError
from tests.lab.layout import Layout, NodePlan

PREFIX = 24


def ip(*words: str, inside: int | None = None) -> str:
    """What `ip` says, on the login node or in the network of the process `inside`."""
    enter = () if inside is None else ("nsenter", f"--net=/proc/{inside}/ns/net")
    return _said([*enter, "ip", *words])


def make_bridge(layout: Layout) -> bool:
    """Make the bridge with the login node's address; false where that network is taken."""
    try:
        ip(
            "link",
            "add",
            layout.bridge,
            "address",
            layout.bridge_hardware_address,
            "type",
            "bridge",
        )
    except LabError as error:
        if "File exists" in str(error):
            return False
        raise
    ip("addr", "add", f"{layout.address}/{PREFIX}", "dev", layout.bridge)
    ip("link", "set", layout.bridge, "up")
    return True


def remove_bridge(layout: Layout) -> None:
    """Take the bridge and what hangs on it away, as far as it is there."""
    there = ip("-o", "link", "show")
    for name in (*(node.port_name for node in layout.nodes), layout.bridge):
        if f" {name}:" in there or f" {name}@" in there:
            _remove(name)


def connect(layout: Layout, node: NodePlan, process: int) -> None:
    """Lay the cable from the bridge into the network of that process, and set it up there."""
    # The kernel takes a dead node's cable away in its own time.
    _remove(node.port_name)
    ip(
        *("link", "add", node.port_name, "type", "veth"),
        *("peer", "name", "eth0", "address", node.hardware_address, "netns", str(process)),
    )
    ip("link", "set", node.port_name, "master", layout.bridge, "up")
    ip("link", "set", "lo", "up", inside=process)
    ip("addr", "add", f"{node.address}/{PREFIX}", "dev", "eth0", inside=process)
    ip("link", "set", "eth0", "up", inside=process)
    # Programs find their own address by asking for the way to some far host.
    ip("route", "add", "default", "via", layout.address, inside=process)
    # Known for good: a lost neighbour would be reported ("no route to host") within seconds, and
    # a node behind a router is not.
    _know(layout.bridge, node.address, node.hardware_address)
    _know("eth0", layout.address, layout.bridge_hardware_address, inside=process)


def cut(node: NodePlan) -> None:
    """Packets from and to the node are lost from here on. Nobody is told."""
    ip("link", "set", node.port_name, "nomaster")


def heal(layout: Layout, node: NodePlan) -> None:
    ip("link", "set", node.port_name, "master", layout.bridge)


def _know(device: str, address: str, hardware: str, inside: int | None = None) -> None:
    ip(
        *("neigh", "replace", address, "lladdr", hardware, "nud", "permanent", "dev", device),
        inside=inside,
    )


def _remove(name: str) -> None:
    try:
        ip("link", "del", name)
    except LabError as error:
        if "Cannot find device" not in str(error):
            raise


def _said(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"'{' '.join(words)}' failed: {done.stderr.strip()}")
    return done.stdout
