"""Submitting a study's array and leaving it: `--detach --on slurm-array`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.slurm.records import JobRecord, JobRecords
from orchestrator.cancelling import clear
from orchestrator.driving import driver_seat
from orchestrator.plan_file import write_plan
from orchestrator.planning import Selection

if TYPE_CHECKING:
    from rich.console import Console

    from cluster import Place
    from orchestrator.run_words import RunOptions
    from orchestrator.study import Study


def submit_array(
    study: Study, place: Place, options: RunOptions, console: Console
) -> list[JobRecord]:
    """Submits as much of what is missing as the queue takes now; the new jobs' records.

    `status`, `watch` and the next run take in what they come to. Raises `UsageError` with nothing
    submitted, `BusyError` if somebody drives the study.
    """
    from orchestrator.array.driver import ArrayDriver

    selection = Selection(
        tuple(options.only), options.limit, options.again, options.same_code, options.retry
    )
    records = JobRecords(study.folder)
    with driver_seat(study):
        plan = study.plan(selection)
        study.maker.check(item.trial for item in plan.to_run)
        write_plan(study, plan)
        if not plan.to_run:
            return []
        clear(study.folder)  # an earlier wish to end it
        if options.retry:
            clear(study.folder, *(item.trial.identity for item in plan.to_run))
        before = {record.id for record in records.all()}
        ArrayDriver(study, selection, place, console, follow=False).carry_out(plan)
        return [record for record in records.all() if record.id not in before]
