"""Recorded jobs as the SLURM of this host has them: none of another's is ever cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.slurm.commands import Slurm
from cluster.slurm.queue import look_for
from cluster.slurm.records import JobRecord, JobRecords


@dataclass(frozen=True)
class Cancelled:
    """What became of records of which the jobs were to be cancelled."""

    cancelled: Sequence[JobRecord]
    foreign: Sequence[tuple[JobRecord, str]]
    """Left alone, and why: another cluster's, or of a number that is another's by now."""


def cancel_ours(slurm: Slurm, records: JobRecords, chosen: Sequence[JobRecord]) -> Cancelled:
    """Cancels recorded jobs by one command, and notes their ends. Raises `SlurmError`, also where
    the cluster's name is needed and cannot be had."""
    if not chosen:
        return Cancelled((), ())
    here = slurm.cluster_name() if any(record.cluster for record in chosen) else ""
    views = look_for(slurm, (record.jobs[0] for record in chosen))
    foreign = [(r, views[r.jobs[0]].why) for r in chosen if views[r.jobs[0]].foreign]
    left = [record for record, _ in foreign]
    ours = [record for record in chosen if record not in left]
    slurm.cancel(record.id for record in ours)
    for record in ours:
        records.end(record.id, "CANCELLED", record.cluster or here)
    return Cancelled(ours, foreign)
