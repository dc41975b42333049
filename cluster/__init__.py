"""Where studies run: this machine, an existing Ray cluster, SLURM."""

from cluster.contract import (
    Cluster,
    ClusterError,
    ClusterRequest,
    NodeSize,
    Resources,
    TrialSize,
)
from cluster.local import LocalCluster
from cluster.places import Place, place_named

__all__ = [
    "Cluster",
    "ClusterError",
    "ClusterRequest",
    "LocalCluster",
    "NodeSize",
    "Place",
    "Resources",
    "TrialSize",
    "open_cluster",
    "place_named",
]


def open_cluster(place: Place, request: ClusterRequest) -> Cluster:
    """The cluster of a place that gives this process a Ray. Enter it to have it."""
    if place.kind == "ray":
        from cluster.ray_address import RayCluster

        assert place.detail is not None
        return RayCluster(place.detail, request.home)
    if place.kind == "slurm":
        from cluster.slurm.pilots import SlurmCluster

        return SlurmCluster(request)
    return LocalCluster()
