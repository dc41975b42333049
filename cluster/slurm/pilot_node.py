"""`python -m cluster.slurm.pilot_node JSON`: the node that a pilot contributes until its end."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

from cluster.contract import ClusterError
from cluster.node import LABEL, join
from cluster.slurm.environment import cpus_here

NOTICE_VARIABLE: Final = "ORRERY_NOTICE_FILE"
"""Names, for every process of the node, the file that a notice to leave is written into."""
SAID: Final = "pilot: "
"""How a pilot's own lines begin in its log."""


def stay(said: Mapping[str, Any]) -> None:
    """Joins the head at `said["address"]` with token file `said["token"]`, offers `cpus`, `gpus`
    and `memory_gib`, and stays until the head has gone. Ends the process with 1 and one line if it
    cannot join."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        node = join(
            said["address"],
            Path(said["token"]),
            min(cpus_here(), int(said["cpus"])),
            said["gpus"],
            said["memory_gib"] or None,
            Path(said["folder"]),
            labels={LABEL: said["job"]},
            environment={NOTICE_VARIABLE: said["notice"]},
            slow_network=said["slow_network"],
        )
    except ClusterError as error:
        print(f"{SAID}{error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    try:
        node.wait()
    finally:
        node.leave()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    stay(json.loads(sys.argv[1]))
