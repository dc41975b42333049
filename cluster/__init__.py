"""Where studies run. Now: this machine (`local`)."""

from cluster.contract import Cluster, ClusterError, Resources
from cluster.local import LocalCluster

__all__ = ["Cluster", "ClusterError", "LocalCluster", "Resources"]
