"""Where studies run. Now: this machine (`local`)."""

from collections.abc import Callable
from typing import Final

from cluster.contract import Cluster, ClusterError, Resources
from cluster.local import LocalCluster

CLUSTERS: Final[dict[str, Callable[[], Cluster]]] = {"local": LocalCluster}
"""What `--on` takes."""

__all__ = ["CLUSTERS", "Cluster", "ClusterError", "LocalCluster", "Resources"]
