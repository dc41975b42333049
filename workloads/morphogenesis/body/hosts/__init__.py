"""The networks in which seeds grow."""

from workloads.morphogenesis.body.hosts.build import build_host
from workloads.morphogenesis.body.hosts.host import GrowingHost, HostSegment

__all__ = ["GrowingHost", "HostSegment", "build_host"]
