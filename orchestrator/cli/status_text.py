"""A study's state, for people and for machines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from orchestrator.cli.heading import heading
from orchestrator.cli.points_text import points_json, points_lines
from orchestrator.disk import disk_bytes
from orchestrator.driving import driver_of, seat_text
from orchestrator.jobs_shown import jobs_of
from orchestrator.log_files import driver_log

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def status_json(study: Study, plan: Plan) -> dict[str, Any]:
    from orchestrator.publishing import mlflow_run_ids

    runs = mlflow_run_ids(study, plan)
    return {
        "study": study.instance,
        "driver": _driver_json(study),
        "jobs": [job.to_json() for job in jobs_of(study.folder)],
        "counts": plan.counts,
        "trials": [
            {
                "id": item.trial.identity,
                "arm": item.trial.arm,
                "replicate": item.trial.replicate,
                "state": item.state,
                "attempts": item.record.attempts,
                "failure": {"kind": item.record.failure.kind, "cause": item.record.failure.cause}
                if item.record.failure
                else None,
                "mlflow_run_id": runs.get(item.trial.identity),
                "label": item.trial.label,
            }
            for item in plan.trials
        ],
        "points": points_json(plan),
        "disk_bytes": disk_bytes(study, plan),
    }


def print_status(study: Study, plan: Plan) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(heading(study))
    states = sorted(plan.counts)
    by_arm: dict[str, Counter[str]] = {}
    for item in plan.trials:
        by_arm.setdefault(item.trial.arm, Counter())[item.state] += 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold")
    for state in states:
        table.add_column(state, justify="right")
    for arm, counts in by_arm.items():
        table.add_row(arm, *(str(counts[state] or "") for state in states))
    console.print(table)
    for item in plan.trials:
        failure = item.record.failure
        if failure is not None and item.state != "done":
            console.print(
                f"{item.state}: {item.trial.arm} seed {item.trial.seed}, attempt "
                f"{item.record.attempts}: {failure.kind}: {failure.cause} "
                f"(orrery trace {item.trial.identity[:8]})",
                markup=False,
            )
    total = ", ".join(f"{count} {state}" for state, count in sorted(plan.counts.items()))
    console.print(
        f"{total}; {disk_bytes(study, plan) / 2**20:.1f} MiB on disk, with its report", markup=False
    )
    for line in points_lines(plan):
        console.print(line, markup=False, soft_wrap=True)
    for line in _who_works(study):
        console.print(line, markup=False, soft_wrap=True)


def _who_works(study: Study) -> list[str]:
    """The driver with its log, if one is there, and the open jobs, a line each."""
    seat, log = driver_of(study), driver_log(study.folder)
    lines = []
    if seat is not None:
        where = f"; log: {log} (orrery logs {study.name} -f)" if log.exists() else ""
        lines.append(f"driver: {seat_text(seat)}{where}")
    return lines + [job.text for job in jobs_of(study.folder)]


def _driver_json(study: Study) -> dict[str, Any] | None:
    seat, log = driver_of(study), driver_log(study.folder)
    claim = seat.claim() if seat is not None else None
    if claim is None:
        return None
    return {
        "pid": claim.process.pid,
        "host": claim.process.host,
        "slurm_job": claim.process.slurm_job,
        "since_s": claim.claimed_at_s,
        "log": str(log) if log.exists() else None,
    }
