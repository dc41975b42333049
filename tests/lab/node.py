"""One node of a lab: given power, entered, and robbed of power."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.lab import network
from tests.lab.layout import Layout, NodePlan
from tests.lab.processes import Started, say, start
from tests.lab.requirements import unshare

_BOOT = Path(__file__).with_name("boot.sh")
_TMP = Path("/tmp")


def boot(
    layout: Layout, node: NodePlan, share: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Make the node's namespaces; slurmd waits for `plug_in`."""
    folder = layout.node_folder(node)
    # What was in a node's memory and on its own disk does not survive.
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    (folder / "spool").mkdir(exist_ok=True)
    return start(
        [*unshare(), "sh", str(_BOOT), node.name, str(folder), str(layout.folder), *share],
        folder / "console.log",
        environment,
        stdin=subprocess.PIPE,
    )


def plug_in(layout: Layout, node: NodePlan, process: subprocess.Popen[bytes]) -> None:
    """Lay the node's cable and let slurmd start."""
    network.connect(layout, node, process.pid)
    say(process.stdin, "go")


def entering(first: Started) -> list[str]:
    """The words before a command that is to run on the node of that first process."""
    target = str(first.pid)
    pid_space = f"--pid=/proc/{target}/ns/pid_for_children"
    spaces = ["--net", "--uts", "--ipc", "--mount", pid_space]
    return ["nsenter", "--target", target, *spaces]


def rob_of_power(first: Started) -> None:
    """End all that runs on the node, at once."""
    try:
        inside = [Started.of(child.pid) for child in psutil.Process(first.pid).children()]
    except psutil.NoSuchProcess:
        inside = []
    for process in (*inside, first):
        process.end()


def shared_below_tmp(more: Sequence[Path]) -> list[Path]:
    """The folders below /tmp that nodes need: the checkout, this Python, and what is asked for."""
    needed = [Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix), *more]
    below = {path.resolve() for path in needed if path.resolve().is_relative_to(_TMP)}
    return sorted(path for path in below if not any(other in below for other in path.parents))
