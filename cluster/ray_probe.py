"""`python -m cluster.ray_probe HOST:PORT`: connects to a Ray once and says how that went.

In a process of its own: with a wrong address Ray's native part may wait for minutes, or end the
process.
"""

from __future__ import annotations

import json
import logging
import platform
import sys
from pathlib import Path
from typing import Any, Final

NO_NODE: Final = "no node here"
_ALIVE = 0  # of Ray's node states


def probe(address: str) -> dict[str, Any]:
    """Whether this process can connect to the Ray at `address`, its versions, and what Ray said if
    not."""
    import ray

    versions: dict[str, str] = {}
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        head = GcsClient(address=address)
        versions = _versions(head)
        if versions and versions != ours():
            return {"connected": False, "versions": versions}
        if not _here(head):
            return {"connected": False, "error": NO_NODE}
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=True,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        return {"connected": False, "error": f"{type(error).__name__}: {error}"}
    ray.shutdown()
    return {"connected": True, "versions": versions}


def ours() -> dict[str, str]:
    """What has to be the same on both sides; of Python, what pickles depend on."""
    import ray

    return {"Ray": ray.__version__, "Python": _minor(platform.python_version())}


def _here(head: Any) -> bool:
    """Whether this process is beside a node of the cluster: it sees the node's socket."""
    nodes = head.get_all_node_info(timeout=10).values()
    return any(Path(node.raylet_socket_name).exists() for node in nodes if node.state == _ALIVE)


def _versions(head: Any) -> dict[str, str]:
    """The cluster's; empty if it does not tell."""
    told = head.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=10)
    if told is None:
        return {}
    found = json.loads(told)
    return {"Ray": found["ray_version"], "Python": _minor(found["python_version"])}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1])))
