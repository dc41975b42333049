"""What a submission says to sbatch, in submitit's words."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any, Final

from cluster.contract import ClusterError
from cluster.slurm.limits import signal_s
from cluster.slurm.settings import SlurmSettings

if TYPE_CHECKING:
    from cluster.slurm.submission import Submission

OURS: Final = frozenset(
    {
        "array",
        "chdir",
        "cpus-per-task",
        "dependency",
        "error",
        "hold",
        "job-name",
        "nodes",
        "no-requeue",
        "ntasks",
        "ntasks-per-node",
        "open-mode",
        "output",
        "parsable",
        "requeue",
        "signal",
        "wait",
        "wrap",
    }
)
"""Options of sbatch that are not a user's to set in `slurm.extra`: they follow from the study."""

SETTINGS: Final = ("partition", "account", "qos", "constraint", "gres", "exclude", "mem", "time")

_VARIABLES: Final = {
    "time": "TIMELIMIT",
    "mem": "MEM_PER_NODE",
    "array": "ARRAY_INX",
    "requeue": "REQUEUE",
    "no-requeue": "NO_REQUEUE",
}
"""`SBATCH_…` of an option, where it is not its name."""


def parameters(submission: Submission, name: str, after: str | None) -> dict[str, Any]:
    """What submitit's executor is told for a job called `name`. Raises `ClusterError`."""
    settings = submission.settings
    per_node = submission.tasks_per_job // submission.nodes
    said: dict[str, Any] = {
        "job_name": name,
        "nodes": submission.nodes,
        "ntasks_per_node": per_node,
        "cpus_per_task": submission.cpus,
        "gres": settings.gres or _gpus(submission.gpus * per_node),
        "mem": settings.mem or _memory(submission.memory_gib * per_node),
        "time": settings.time,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "exclude": settings.exclude,
        "dependency": None if after is None else f"afterany:{after}",
        "wckey": None,  # where keys are checked, submitit's is refused
        "stderr_to_stdout": True,
        "array_parallelism": at_once(submission) or len(submission.arguments) or 1,
        "setup": _setup(submission),
        "srun_args": _srun(submission),
        "additional_parameters": {
            **_extra(settings),
            "chdir": str(submission.folder),
            "hold": True,
            "requeue" if settings.requeue else "no-requeue": True,
            # to the job's steps, which are what trains; `B:` would reach the shell alone
            "signal": f"USR2@{signal_s(settings)}",
        },
    }
    return {key: value for key, value in said.items() if value is not None or key == "wckey"}


def at_once(submission: Submission) -> int | None:
    """How many of its tasks may run at the same time; None: no limit."""
    return submission.at_once or submission.settings.at_once


def unseen_variables(parameters: dict[str, Any]) -> list[str]:
    """Variables of the user's shell that would go before what the script says."""
    stated = {**parameters, **parameters["additional_parameters"]}
    names = [key.replace("_", "-") for key, value in stated.items() if value is not None]
    names += ["array", "wait", "requeue", "no-requeue", "output", "error", "open-mode"]
    return [
        f"SBATCH_{_VARIABLES.get(name, name.upper().replace('-', '_'))}" for name in sorted(names)
    ]


def _extra(settings: SlurmSettings) -> dict[str, str | int | bool]:
    extra = {key.replace("_", "-"): value for key, value in settings.extra.items()}
    for key in extra:
        if key in SETTINGS:
            raise ClusterError(f"slurm.extra.{key}: write slurm.{key}, which is the same.")
        if key in OURS:
            raise ClusterError(
                f"slurm.extra.{key}: not to be set, it follows from the study. Of these none can "
                f"be: {', '.join(sorted(OURS))}."
            )
    return {key: value for key, value in extra.items() if value is not False}


def _gpus(count: int) -> str | None:
    return f"gpu:{count}" if count else None


def _memory(gib: float) -> str | None:
    return f"{math.ceil(gib * 1024)}M" if gib else None


def _srun(submission: Submission) -> list[str]:
    # since 22.05 srun does not take the CPUs over from sbatch: a step would get one
    words = [f"--cpus-per-task={submission.cpus}"]
    if submission.tasks_per_job > 1:
        # the others would wait for a lost rank until the time limit
        words.append("--kill-on-bad-exit=1")
    return words


def _setup(submission: Submission) -> list[str]:
    """Lines of the script before srun: the user's first, so that ours hold."""
    variables = dict(submission.environment)
    if submission.sources is not None:
        variables |= submission.sources.environment()
    variables["PYTHONSAFEPATH"] = "1"
    lines = list(submission.settings.setup)
    lines += [f"export {key}={shlex.quote(value)}" for key, value in sorted(variables.items())]
    if submission.kind == "array":
        # as Ray does for its workers: the user's word, else the CPUs of the rank
        lines.append(f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{submission.cpus}}}"')
    # a shell that gets SIGTERM beside its ranks (scancel --full) stays until they have saved
    lines.append("trap : TERM")
    return lines
