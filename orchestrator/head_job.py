"""`run --on slurm --detach`: the driver, with its Ray head, in a SLURM job of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.apart import Apart
from cluster.slurm.settings import SlurmSettings
from orchestrator.array.leaving import STAY_S, requeue
from orchestrator.errors import UsageError
from orchestrator.log_files import driver_log
from orchestrator.run_words import RunOptions, orrery_words, run_words

if TYPE_CHECKING:
    from rich.console import Console

    from cluster import Place
    from cluster.slurm.commands import Slurm
    from cluster.slurm.records import JobRecord, JobRecords
    from orchestrator.study import Study

HEAD_CPUS: Final = 1
_OF_TRIALS: Final = frozenset({"gres", "mem"})
"""Settings that say what the trials on a job take: the head runs none."""
_LOOK_EVERY_S = 0.5
_LEAVE_PATIENCE_S = 60.0
"""Pilots are given 20 s to save and leave; Ray and telemetry some more."""


def submit_head(study: Study, place: Place, options: RunOptions, console: Console) -> JobRecord:
    """Submits one job that runs the study as asked, from a snapshot of the sources, and that puts
    itself back into the queue before its time limit until the study has ended.

    Gives the record of the head that there is already, if its job has not ended. Raises
    `UsageError` with SLURM's own words, and nothing submitted.
    """
    from cluster import ClusterError
    from cluster.slurm.check import refuse_wrong
    from cluster.slurm.commands import Slurm
    from cluster.slurm.profiles import settings_for
    from cluster.slurm.records import JobRecords
    from cluster.slurm.submission import adopt_or_cancel_strays

    try:
        slurm, settings = Slurm.find(), settings_for(place.detail, study.file.slurm)
        refuse_wrong(settings)
        records = JobRecords(study.folder)
        # what a submission that was killed has left held is none that will ever run
        adopt_or_cancel_strays(slurm, study.instance, records, "head")
        there = _head_there(slurm, records)
        if there is not None:
            console.print(f"a head of this study is in the queue already: job {there.id}")
            return there
        _refuse_if_driven(study)
        return _submitted(slurm, study, place, options, settings, records)
    except ClusterError as error:
        raise UsageError(str(error)) from error


def _submitted(
    slurm: Slurm,
    study: Study,
    place: Place,
    options: RunOptions,
    settings: SlurmSettings,
    records: JobRecords,
) -> JobRecord:
    from cluster.slurm.submission import Submission, submit
    from cluster.sources import Sources
    from orchestrator.plan_file import write_plan
    from orchestrator.planning import Selection

    selection = Selection(
        tuple(options.only), options.limit, options.again, options.same_code, options.retry
    )
    write_plan(study, study.plan(selection))  # the job reads the study from beside it
    words = run_words(study, place, options, as_planned=True)
    if settings.head_address is not None:  # that of this host
        words += ["-s", "slurm.head_address=null"]
    submission = Submission(
        kind="head",
        name=study.instance,
        function=run_head,
        arguments=[{"words": words, "log": str(driver_log(study.folder))}],
        settings=head_settings(settings),
        folder=study.folder,
        cpus=HEAD_CPUS,
        sources=Sources.snapshot(study.home.root),
        note="drives the study",
    )
    submitted = submit(slurm, submission, records)
    if not submitted:
        raise UsageError(
            "SLURM's queue has no room for a job of yours now (MaxSubmitJobs). Try again later, or "
            "run without --detach, which waits."
        )
    return submitted[0]


def head_settings(settings: SlurmSettings) -> SlurmSettings:
    """Those of the pilots, but for what a job with trials takes."""
    said = settings.model_dump(include=settings.model_fields_set - _OF_TRIALS)
    extra = {k: v for k, v in settings.extra.items() if not k.startswith(("exclusive", "gpus"))}
    return SlurmSettings.model_validate({**said, "extra": extra, "requeue": True})


def _head_there(slurm: Slurm, records: JobRecords) -> JobRecord | None:
    """The study's head whose job has not ended, or is not known to have."""
    from cluster.slurm.queue import look_for

    heads = [record for record in records.open() if record.kind == "head"]
    views = look_for(slurm, [record.jobs[0] for record in heads])
    for record in heads:
        view = views[record.jobs[0]]
        if view.foreign and record.cluster in ("", slurm.cluster_name()):
            continue  # its number is another job's by now
        if view.state != "ended":
            return record
        records.end(record.id, views[record.jobs[0]].said, record.cluster)
    return None


def _refuse_if_driven(study: Study) -> None:
    from orchestrator.driving import driver_of, seat_text

    seat = driver_of(study)
    if seat is not None:
        raise UsageError(
            f"{seat_text(seat)} runs this study already. Stop it first (Ctrl-C there, or orrery "
            "cancel), or let it go on: orrery watch shows it."
        )


# -- in the job -----------------------------------------------------------------------------------


def run_head(said: Mapping[str, Any]) -> None:
    """Runs `orrery` with `said["words"]` to its end, its output appended to `said["log"]`.

    Told to leave, it interrupts the driver, waits for its end, and puts the job back into the
    queue: what is left goes on from the ledger. Ends the process with the driver's exit code.
    """
    from cluster.slurm.environment import on_notice

    told: list[str] = []
    on_notice(told.append)
    words = [*orrery_words(), *said["words"]]
    with Path(said["log"]).open("ab", buffering=0) as log:
        log.write(_heading(said["words"]))
        driver = Apart(words, log)
        try:
            while driver.wait(_LOOK_EVERY_S) is None and not told:
                continue
            if driver.code is None:
                driver.signal(signal.SIGINT)
                driver.wait(_LEAVE_PATIENCE_S)
        finally:
            code = driver.end()
        if told and code != 0:
            log.write(f"== told to leave: {told[0]}\n".encode())
            if requeue(told[0]):
                time.sleep(STAY_S)  # a job that ends by itself would count as completed
    if code:
        raise SystemExit(code if code > 0 else 1)


def _heading(words: Sequence[str]) -> bytes:
    shown = " ".join(["orrery", *words])
    job = os.environ.get("SLURM_JOB_ID", "?")
    return f"== {time.strftime('%Y-%m-%d %H:%M:%S')} job {job}: {shown}\n".encode()
