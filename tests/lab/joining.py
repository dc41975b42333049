"""A process that joins a head and waits until its node has left: what a pilot does of Ray."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cluster.node import join


def main(told: str) -> None:
    """Joins as the JSON says, prints `joined`, and `left SECONDS` once the head is gone."""
    said = json.loads(told)
    node = join(
        said["address"],
        Path(said["token"]),
        1,
        0,
        said.get("memory_gib"),
        Path(said["folder"]),
        labels={"orrery-pilot": said["pilot"]},
        environment=said.get("environment"),
    )
    try:
        print("joined", flush=True)
        joined = time.monotonic()
        node.wait()
        print(f"left {time.monotonic() - joined:.1f}", flush=True)
    finally:
        node.leave()


if __name__ == "__main__":
    main(sys.argv[1])
