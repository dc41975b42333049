"""One rank of an attempt: its emitter, its context, the workload's run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.engine.episode import episode_facts, first_claimed_at_s
from orchestrator.engine.ticket import Ticket
from orchestrator.records import Provenance
from telemetry import Emitter, spool_path
from telemetry.emitter import Push
from telemetry.system_metrics import SYSTEM_REDUCERS, SystemMetrics
from workloads.contract import (
    Checkpoints,
    Reporter,
    Result,
    TrialContext,
    Workload,
    WorkloadConfig,
)


@dataclass(frozen=True)
class RankPlace:
    """Which of how many processes of a trial's training this is, and in whose attempt."""

    attempt_folder: Path
    attempt: int
    rank: int = 0
    ranks: int = 1

    @property
    def artifacts(self) -> Path:
        return self.attempt_folder / "artifacts"


def run_rank(
    ticket: Ticket,
    place: RankPlace,
    workload: Workload[Any],
    config: WorkloadConfig,
    *,
    checkpoints: Checkpoints,
    report: Reporter,
    provenance: Provenance,
    push: Push | None,
) -> Result:
    """Runs the workload as this rank; its events are in the rank's spool when this returns."""
    with Emitter(
        spool_path(place.attempt_folder, place.rank),
        trial=ticket.identity,
        attempt=place.attempt,
        rank=place.rank,
        ranks=place.ranks,
        reducers={
            **SYSTEM_REDUCERS,
            **{name: metric.reducer for name, metric in workload.metrics.items()},
        },
        push=push,
    ) as emitter:
        facts = episode_facts(ticket, place.attempt, place.ranks, workload, config, provenance)
        emitter.context(facts)
        context = TrialContext(
            identity=ticket.identity,
            label=ticket.label,
            seed=ticket.seed,
            attempt=place.attempt,
            artifacts=place.artifacts,
            emitter=emitter,
            checkpoints=checkpoints,
            report=report,
            rank=place.rank,
            ranks=place.ranks,
        )
        with SystemMetrics(emitter, first_claimed_at_s(place.attempt_folder.parent)):
            return workload.run(config, context)
