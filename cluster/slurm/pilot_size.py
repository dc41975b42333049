"""How big a pilot is, and how many of them a study fills."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cluster.contract import ClusterError, ClusterRequest, NodeSize, Resources, TrialSize
from cluster.slurm.commands import Slurm
from cluster.slurm.settings import SlurmSettings

MOST_PILOTS = 16
"""Where `slurm.pilots` says nothing."""
OWN_MEMORY_GIB = 1.0
"""What Ray's own processes take of a job's memory."""


@dataclass(frozen=True)
class PilotSize:
    """What one pilot's job asks for: room for `ranks` ranks of a study's trials."""

    ranks: int
    cpus: int
    gpus: int
    memory_gib: float
    """That trials may reserve; 0: they reserve none."""

    @property
    def job_memory_gib(self) -> float:
        """What the job asks for; 0 leaves it to the cluster."""
        return self.memory_gib + OWN_MEMORY_GIB if self.memory_gib else 0.0

    @property
    def node(self) -> NodeSize:
        """What it offers."""
        memory = self.memory_gib or float("inf")
        return NodeSize(cpus=self.cpus, gpus=self.gpus, memory_gib=memory)


def pilot_size(trial: TrialSize, settings: SlurmSettings, largest: NodeSize | None) -> PilotSize:
    """`largest`: the largest node that a pilot may get, as far as that is known."""
    apart = min(settings.ranks_per_pilot or trial.ranks, trial.ranks)
    ranks = settings.trials_per_pilot * apart
    if largest is not None:
        # a rank that no node can hold is for sbatch to refuse, in its own words
        ranks = max(1, min(ranks, largest.fits(trial)))
    return PilotSize(
        ranks=ranks,
        cpus=max(1, math.ceil(trial.cpus * ranks)),
        gpus=math.ceil(trial.gpus * ranks),
        memory_gib=trial.memory_gib * ranks,
    )


def pilots_for(trials: int, size: PilotSize, request: ClusterRequest) -> int:
    """How many pilots so many trials fill, as far as there may be that many."""
    at_once = min(trials, request.max_concurrent or trials)
    most = request.slurm.pilots or MOST_PILOTS
    return min(most, math.ceil(at_once * request.trial.ranks / size.ranks))


def full_fleet(size: PilotSize, request: ClusterRequest) -> Resources:
    """What there is when all pilots are there. Raises `ClusterError` if no trial fits on them."""
    pilots = max(1, pilots_for(max(1, request.trials), size, request))
    fleet = Resources((size.node,) * pilots)
    if fleet.fits(request.trial) < 1:
        needed = math.ceil(request.trial.ranks / size.ranks)
        raise ClusterError(
            f"A trial of {request.trial.ranks} ranks needs {needed} pilots with room for "
            f"{size.ranks} each, and slurm.pilots allows {pilots}. Allow more: "
            f"-s slurm.pilots={needed}"
        )
    return fleet


def largest_node(slurm: Slurm, settings: SlurmSettings) -> NodeSize | None:
    """The largest node of the partition; None where SLURM does not tell."""
    words = ["sinfo", "--noheader", "--exact", "--format=%c|%m|%G"]
    words += [f"--partition={settings.partition}"] if settings.partition else []
    try:
        said = slurm.ask(words)
    except ClusterError:
        return None
    return _largest(said.splitlines())


def _largest(lines: Iterable[str]) -> NodeSize | None:
    """The most CPUs, memory (MiB) and GPUs of lines `16+|64000+|gpu:a100:4(S:0-1)`."""
    found = None
    for line in lines:
        fields = line.strip().split("|")
        if len(fields) != 3:
            continue
        cpus, memory = (re.match(r"\d+", field) for field in fields[:2])
        if cpus is None or memory is None:
            continue
        gpus = sum(int(n) for n in re.findall(r"gpu(?::[^:,()]+)?:(\d+)", fields[2]))
        one = NodeSize(int(cpus.group()), gpus, int(memory.group()) / 1024)
        if found is None or (one.cpus, one.gpus) > (found.cpus, found.gpus):
            found = one
    return found
