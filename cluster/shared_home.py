"""Whether the nodes of a Ray see the same ORRERY_HOME as this process, found by looking there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.contract import ClusterError

LOOK_LIMIT_S = 30.0


@contextmanager
def nonce_in(home: Path) -> Iterator[Path]:
    """A file of the home, for the length of the block, that holds its own name."""
    path = home / f".seen-{secrets.token_hex(8)}"
    try:
        path.write_text(path.name)
    except OSError as error:
        raise ClusterError(f"The home '{home}' cannot be written: {error}.") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def refuse_unless_shared(home: Path) -> None:
    """Lets each other node that runs trials look for a file in the home.

    Raises `ClusterError` that names a node which does not find it. Needs a Ray that is up.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    nodes = {
        node["NodeID"]: node["NodeManagerHostname"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != here and node["Resources"].get("CPU")
    }
    with nonce_in(home) as nonce:
        looks = {}
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
            looks[node] = ray.remote(_reads).options(**options).remote(str(nonce))
        deadline = time.monotonic() + LOOK_LIMIT_S
        for node, look in looks.items():
            found = _answer(look, deadline, home, nodes[node])
            if found != nonce.name:
                raise ClusterError(
                    f"The home '{home}' is not on a file system that the cluster shares: node "
                    f"{nodes[node]} did not find a file that was just written there ({found}). Set "
                    "ORRERY_HOME (or --home) to a folder that all nodes see."
                )


def _answer(look: Any, deadline: float, home: Path, node: str) -> str:
    import ray

    try:
        return str(ray.get(look, timeout=max(0.1, deadline - time.monotonic())))
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterError(
            f"Node {node} did not say within {LOOK_LIMIT_S:g} s whether it sees the home '{home}'."
        ) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"Node {node} could not look for the home '{home}': {str(error).splitlines()[-1]}. It "
            "needs the same Python packages as this one, orrery among them."
        ) from error


def _reads(path: str) -> str:
    """What a file holds, or why it cannot be read."""
    try:
        return Path(path).read_text()
    except OSError as error:
        return str(error)
