"""A run whose driver runs in a Ray cluster, sent there through Ray's Job API and followed here."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from cluster.contract import ClusterError
from cluster.places import Place
from cluster.ray_jobs import RayJob, RayJobs, same_python
from cluster.shared_home import nonce_in
from cluster.slurm.records import JobRecord, JobRecords
from cluster.sources import Sources
from orchestrator.errors import UsageError
from orchestrator.interruption import interrupted_by_terminate
from orchestrator.plan_file import write_plan
from orchestrator.planning import Selection
from orchestrator.run_words import RunOptions, run_words

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.study import Study

FOLLOW_EVERY_S = 2.0
LOOK_LIMIT_S = 180.0
"""A cluster may have to start a node first."""
STOP_PATIENCE_S = 60
"""How long a driver that is told to end has to let its trials save."""
_CUT_OFF_LIMIT_S = 60.0

_LOOK = """
import json, platform, sys
from pathlib import Path
home = Path(sys.argv[1])
try:
    found = home.read_text()
except OSError as error:
    found = str(error)
print("ORRERY " + json.dumps({"python": platform.python_version(), "found": found}))
"""
"""Run by the cluster's Python, which has to have nothing of ours."""


def run_elsewhere(
    study: Study, place: Place, options: RunOptions, console: Console, detach: bool
) -> int:
    """Runs a study with its driver in the cluster at `place` (`ray:http://HOST:8265`).

    First the versions of Ray and Python are compared, and the cluster looks for a file in the
    home, which has to be visible there under the same path. The cluster runs from a copy of the
    sources in the home. Its log is shown as it grows; an interrupt lets go of it, and the job goes
    on. Gives the driver's exit code; 0 at once with `detach`. Raises `UsageError` with nothing
    submitted.
    """
    assert place.detail is not None
    jobs = RayJobs(place.detail)
    study.home.writable()
    selection = Selection(
        tuple(options.only), options.limit, options.again, options.same_code, options.retry
    )
    plan = study.plan(selection)
    try:
        with interrupted_by_terminate():
            jobs.refuse_other_ray()
            _refuse_other_python_or_home(jobs, study)
            sources = Sources.snapshot(study.home.root)
            write_plan(study, plan)
            record = _submit(jobs, study, options, sources)
    except ClusterError as error:
        raise UsageError(str(error)) from error
    console.print(
        f"{study.instance}: job {record.id} runs in the cluster at {jobs.address}",
        markup=False,
        highlight=False,
    )
    if detach:
        _tell_how_to_follow(study, jobs, record.id, console)
        return 0
    return _follow(jobs, record.id, study, console)


def _submit(jobs: RayJobs, study: Study, options: RunOptions, sources: Sources) -> JobRecord:
    address = Place("ray", "ADDRESS-IN-THE-CLUSTER")
    words = shlex.join(run_words(study, address, options, as_planned=True))
    # Ray tells a job its cluster's address in a variable, which its shell puts in
    words = words.replace(str(address), '"ray:$RAY_ADDRESS"')
    # the folder one stands in comes first on the path of Ray's workers: one without packages
    entrypoint = f"cd {shlex.quote(str(study.folder))} && exec python -m orchestrator.cli {words}"
    name = f"orrery-{study.instance}-{secrets.token_hex(4)}"
    record = JobRecord(
        id=name,
        kind="ray-job",
        name=name,
        submitted_at_s=time.time(),
        host=socket.gethostname(),
        address=jobs.address,
        sources=sources.digest,
        ready_at_s=time.time(),
    )
    records = JobRecords(study.folder)
    records.add(record)  # before it starts: a job that nobody has noted could not be cancelled
    try:
        jobs.submit(entrypoint, environment=_environment(sources), name=name)
    except BaseException:
        records.end(name, "not submitted")
        raise
    return record


def _environment(sources: Sources) -> Mapping[str, str]:
    """Paths of this process's own mean nothing in the cluster; the copy's does."""
    variables = {
        "PYTHONPATH": str(sources.path),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_PATIENCE_S),
    }
    if uri := os.environ.get("ORRERY_TRACKING_URI"):
        variables["ORRERY_TRACKING_URI"] = uri
    return variables


def _refuse_other_python_or_home(jobs: RayJobs, study: Study) -> None:
    home = study.home.root
    with nonce_in(home) as nonce:
        entrypoint = shlex.join(["python", "-c", _LOOK, str(nonce)])
        id = jobs.submit(entrypoint, environment={}, name=f"orrery-look-{secrets.token_hex(6)}")
        try:
            job = jobs.wait(id, LOOK_LIMIT_S)
        except BaseException:
            with suppress(ClusterError):
                jobs.stop(id)
            raise
        said = jobs.log(id)
    lines = [line for line in said.splitlines() if line.startswith("ORRERY ")]
    if not lines:
        raise ClusterError(
            f"The cluster at {jobs.address} could not run `python -c …`: "
            f"{' '.join((said or job.message).split())[-300:]}"
        )
    answer = json.loads(lines[-1].removeprefix("ORRERY "))
    if not same_python(answer["python"]):
        ours = ".".join(map(str, sys.version_info[:3]))
        raise ClusterError(
            f"The cluster at {jobs.address} has Python {answer['python']}, this process {ours}. "
            "Use the same version of both."
        )
    if answer["found"] != nonce.name:
        raise ClusterError(
            f"The home '{home}' is not visible in the cluster at {jobs.address} under that path: "
            f"a job there did not find a file that was just written ({answer['found']}). Set "
            "ORRERY_HOME (or --home) to a folder on a file system that this host and the cluster "
            "share."
        )


def _follow(jobs: RayJobs, id: str, study: Study, console: Console) -> int:
    """Shows a job's log until it has ended; gives its exit code."""
    shown, silent_since = 0, None
    try:
        with interrupted_by_terminate():
            while True:
                try:
                    job = jobs.job(id)
                    log = jobs.log(id)
                    silent_since = None
                except ClusterError as error:
                    now = time.monotonic()
                    silent_since = silent_since or now
                    if now - silent_since > _CUT_OFF_LIMIT_S:
                        console.print(f"{error}", markup=False, highlight=False)
                        _tell_how_to_follow(study, jobs, id, console)
                        return 1
                    time.sleep(FOLLOW_EVERY_S)
                    continue
                console.file.write(log[shown:])
                console.file.flush()
                shown = len(log)
                if job.ended:
                    return _ended(job, study, console)
                time.sleep(FOLLOW_EVERY_S)
    except KeyboardInterrupt:
        console.print("\nLet go of it: the job goes on in the cluster.")
        _tell_how_to_follow(study, jobs, id, console)
        return 130


def _ended(job: RayJob, study: Study, console: Console) -> int:
    JobRecords(study.folder).end(job.id, job.status)
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        console.print(f"Job {job.id} was stopped: nothing is lost. The same command goes on.")
        return 130
    if job.exit_code is None:
        console.print(f"Job {job.id} failed: {job.message}", markup=False, highlight=False)
    return job.exit_code or 1


def _tell_how_to_follow(study: Study, jobs: RayJobs, id: str, console: Console) -> None:
    home = shlex.quote(str(study.home.root))
    for line in (
        f"See how it goes:  orrery status {study.name} --home {home}",
        f"Its log:          ray job logs --address {jobs.address} --follow {id}",
        f"End it:           orrery cancel {study.name} --home {home}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
