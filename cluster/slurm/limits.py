"""What a SLURM allows: sizes of arrays, jobs in the queue, partitions and their time limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.slurm.settings import SlurmSettings, seconds

DEFAULT_MAX_ARRAY_SIZE = 1001
"""SLURM's own default."""


@dataclass(frozen=True)
class Partition:
    """A partition as `sinfo` tells it."""

    name: str
    up: bool
    is_default: bool
    max_time_s: int | None
    """None: no limit, or not told."""
    nodes: int


@dataclass(frozen=True)
class ClusterLimits:
    """What the controller and, where it answers, the accounting say."""

    version: str = ""
    max_array_size: int = DEFAULT_MAX_ARRAY_SIZE
    """`MaxArraySize`: an array's highest index is one less."""
    max_submit: int | None = None
    """`MaxSubmitJobs`: jobs and array tasks of one user in the queue. None: not told."""
    max_jobs: int | None = None
    """`MaxJobCount`: jobs of everybody that the controller keeps."""
    cluster: str = ""
    """`ClusterName`; empty if it is not told."""


def limits_from(config: str, max_submit: int | None) -> ClusterLimits:
    """Reads `scontrol show config`."""
    said = dict(_pairs(config))
    return ClusterLimits(
        version=said.get("SLURM_VERSION", ""),
        max_array_size=_number(said.get("MaxArraySize")) or DEFAULT_MAX_ARRAY_SIZE,
        max_submit=max_submit,
        max_jobs=_number(said.get("MaxJobCount")),
        cluster=said.get("ClusterName", "").lower(),
    )


def partitions_from(sinfo: str) -> list[Partition]:
    """Reads lines `name*|up|1-00:00:00|4` of `sinfo --format=%P|%a|%l|%D`."""
    found: dict[str, Partition] = {}
    for line in sinfo.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 4:
            continue
        name = fields[0].removesuffix("*")
        before = found[name].nodes if name in found else 0
        found[name] = Partition(
            name=name,
            up=fields[1] == "up",
            is_default=fields[0].endswith("*"),
            max_time_s=_time(fields[2]),
            nodes=before + (_number(fields[3]) or 0),
        )
    return list(found.values())


def signal_s(settings: SlurmSettings) -> int:
    """Seconds before the time limit at which SLURM is asked to send its notice.

    The controller looks every 30 s or so, and sends it up to a minute early: under a limit of a few
    minutes, more than a fifth would leave a job no time to work in. Seen with SLURM 22.05 under a
    limit of 60 s and 12 s asked for: told after 24 s to 45 s, ended by SIGTERM after 75 s to 84 s.
    """
    return max(1, min(settings.signal_s, seconds(settings.time) // 5))


def chunks(count: int, limits: ClusterLimits) -> Iterator[range]:
    """Cuts `count` tasks into as few arrays as `MaxArraySize` allows."""
    for start in range(0, count, limits.max_array_size):
        yield range(start, min(start + limits.max_array_size, count))


def _pairs(config: str) -> Iterator[tuple[str, str]]:
    for line in config.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip(), value.strip()


def _number(text: str | None) -> int | None:
    found = re.match(r"\s*(\d+)", text or "")
    return int(found.group(1)) if found else None


def _time(text: str) -> int | None:
    try:
        return seconds(text)
    except ValueError:  # infinite, n/a
        return None
