"""What the stand-in's commands print, in the forms that SLURM 22.05 prints."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.cluster.stand_in.jobs import Job, Refused, indices

if TYPE_CHECKING:
    from tests.cluster.stand_in.controller import SlurmStandIn

NO_SUCH_JOB = "slurm_load_jobs error: Invalid job id specified"


def answer(slurm: SlurmStandIn, words: list[str]) -> str:
    """What a command prints. Raises `Refused`."""
    said = {
        "squeue": _squeue,
        "sacct": _sacct,
        "scancel": _scancel,
        "scontrol": _scontrol,
        "sinfo": _sinfo,
        "sacctmgr": _sacctmgr,
    }[words[0]](slurm, words[1:])
    return "".join(f"{line}\n" for line in said)


def _squeue(slurm: SlurmStandIn, words: list[str]) -> list[str]:
    options = _options(words)
    jobs = slurm.visible()
    asked = [id for id in options.get("jobs", "").split(",") if id]
    if asked:
        known = [job for job in jobs if str(job.script.base) in asked or job.id in asked]
        if not known and len(asked) == 1:
            raise Refused(NO_SUCH_JOB)
        jobs = known
    if "name" in options:
        jobs = [job for job in jobs if job.script.option("job-name") == options["name"]]
    if options.get("states") != "all":
        jobs = [job for job in jobs if not job.ended]
    lines = []
    for job, id in _shown(jobs, expanded="array" in options):
        filled = options.get("format", "%i|%j|%T|%r|%N")
        for mark, value in (
            ("%i", id),
            ("%F", str(job.script.base)),
            ("%j", job.script.option("job-name")),
            ("%T", job.shown_state),
            ("%r", job.reason),
            ("%N", ",".join(job.nodes)),
            ("%P", job.script.option("partition")),
            ("%Z", job.script.option("chdir", job.script.folder)),
        ):
            filled = filled.replace(mark, value)
        lines.append(filled)
    return lines


def _shown(jobs: list[Job], expanded: bool) -> Iterable[tuple[Job, str]]:
    """Pending tasks of an array are one line, unless they are asked for each."""
    waiting: dict[int, list[Job]] = {}
    for job in jobs:
        if expanded or job.index is None or job.state != "PENDING":
            yield job, job.id
        else:
            waiting.setdefault(job.script.base, []).append(job)
    for base, tasks in waiting.items():
        yield tasks[0], f"{base}_[{','.join(str(task.index) for task in tasks)}]"


def _sacct(slurm: SlurmStandIn, words: list[str]) -> list[str]:
    if slurm.accounting == "off":
        raise Refused("Slurm accounting storage is disabled")
    if slurm.accounting == "empty":
        return []
    asked = _options(words).get("jobs", "").split(",")
    jobs = [job for job in slurm.jobs.values() if asked == [""] or str(job.script.base) in asked]
    lines = []
    for job, id in _shown(jobs, expanded=False):
        name = job.script.option("job-name")
        state = "CANCELLED by 1000" if job.state == "CANCELLED" else job.state
        lines.append(f"{id}|{state}|{','.join(job.nodes) or 'None assigned'}|{name}")
    return lines


def _scancel(slurm: SlurmStandIn, words: list[str]) -> list[str]:
    options = _options([word for word in words if word.startswith("--")])
    for id in [word for word in words if not word.startswith("-")]:
        jobs = _with_id(slurm, id)
        if not jobs and "quiet" not in options:
            raise Refused(
                f"scancel: error: Kill job error on job id {id}: Invalid job id specified"
            )
        for job in jobs:
            if "signal" in options:
                job.signal_steps(signal.Signals[f"SIG{options['signal'].removeprefix('SIG')}"])
            elif job.state == "PENDING":
                job.state, job.held = "CANCELLED", False
            elif job.state == "RUNNING":
                job.tell_to_leave("CANCELLED", slurm.kill_wait_s)
    return []


def _scontrol(slurm: SlurmStandIn, words: list[str]) -> list[str]:
    plain = [word for word in words if not word.startswith("--")]
    match plain:
        case ["show", "config"]:
            return [
                f"ClusterName             = {slurm.cluster_name}",
                f"MaxArraySize            = {slurm.max_array_size}",
                "MaxJobCount             = 10000",
                "SLURM_VERSION           = 22.05.8",
            ]
        case ["show", "jobs"]:
            return [_told(job) for job in slurm.visible()] or ["No jobs in the system"]
        case ["show", "job", id]:
            found = [job for job in slurm.visible() if id in (str(job.script.base), job.id)]
            if not found:
                raise Refused(NO_SUCH_JOB)
            return [_told(job) for job in found]
        case ["release" | "hold" as what, ids]:
            for id in ids.split(","):
                for job in _found(slurm, id):
                    job.held = what == "hold"
                    job.reason = "JobHeldUser" if job.held else "Priority"
            return []
        case ["requeue", id]:
            for job in _found(slurm, id):
                job.tell_to_leave("PENDING", slurm.kill_wait_s)
            return []
    raise Refused(f"scontrol: error: the stand-in does not know: {' '.join(words)}")


def _sinfo(slurm: SlurmStandIn, words: list[str]) -> list[str]:
    default = next(iter(slurm.partitions))
    return [
        f"{name}{'*' if name == default else ''}|"
        f"{'down' if name in slurm.down_partitions else 'up'}|{limit}|{len(slurm.nodes)}"
        for name, limit in slurm.partitions.items()
    ]


def _sacctmgr(slurm: SlurmStandIn, words: list[str]) -> list[str]:
    if slurm.accounting == "off":
        raise Refused("You are not running a supported accounting_storage plugin")
    field = words[-1].removeprefix("format=")
    told = slurm.max_submit if slurm.tells_max_submit else None
    known = {"MaxSubmitJobs": "" if told is None else str(told), "account": "lab", "qos": "normal"}
    return [known[field]]


def _told(job: Job) -> str:
    array = "" if job.index is None else f" ArrayJobId={job.script.base} ArrayTaskId={job.index}"
    return f"JobId={job.number}{array} JobName={job.script.option('job-name')} JobState={job.state}"


def _found(slurm: SlurmStandIn, id: str) -> list[Job]:
    jobs = [job for job in _with_id(slurm, id) if not job.ended]
    if not jobs:
        raise Refused(f"Invalid job id specified for job {id}")
    return jobs


def _with_id(slurm: SlurmStandIn, id: str) -> list[Job]:
    base, bracket, inside = id.partition("_[")
    if bracket:
        wanted = set(indices(inside.rstrip("]"))[0])
        return [j for j in slurm.visible() if str(j.script.base) == base and j.index in wanted]
    return [
        job
        for job in slurm.visible()
        if id in (job.id, str(job.script.base)) or (id == str(job.number) and "_" not in id)
    ]


def _options(words: list[str]) -> dict[str, str]:
    return {
        found[1]: found[2] or "" for word in words if (found := re.match(r"--([\w-]+)=?(.*)", word))
    }
