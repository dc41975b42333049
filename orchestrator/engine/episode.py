"""What a rank's attempt runs from: all that is needed to run it again, gathered in its worker.

The fields are those of `telemetry.EpisodeContext`; what has no field of its own stands in its
`facts`. The environment's packages are written once, as ``<home>/environments/<digest>.json``;
the context names the digest.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.attempts import attempts
from orchestrator.engine.ticket import Ticket
from orchestrator.home import publish_once
from orchestrator.provenance import environment_lock, environment_pins
from orchestrator.records import Provenance
from workloads.contract import Workload, WorkloadConfig

logger = logging.getLogger(__name__)

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONHASHSEED",
)
"""Environment variables that can change the numbers of a trial."""

ENVIRONMENTS = "environments"


def episode_facts(
    ticket: Ticket,
    attempt: int,
    ranks: int,
    workload: Workload[Any],
    config: WorkloadConfig,
    provenance: Provenance,
) -> dict[str, Any]:
    """What this process knows of the attempt before the workload runs.

    The workload adds what only it knows: the seeds of its random streams, the architecture, the
    parameter count.
    """
    return {
        "episode_id": f"{ticket.identity}-{attempt:04d}",
        "timestamp": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "base_seed": ticket.seed,
        "max_epochs": _first(config, "max_epochs", "epochs"),
        "task_type": _first(config, "task_type", "task"),
        "hyperparameters": ticket.config,
        "environment": _environment(ticket.home),
        "hardware": _hardware(),
        "study": ticket.study,
        "arm": ticket.arm,
        "replicate": ticket.replicate,
        "label": ticket.label,
        "workload": ticket.workload,
        "workload_version": workload.version,
        "code_digest": provenance.code_digest,
        "threads": config.threads,
        "ranks": ranks,
        "python": platform.python_version(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def first_claimed_at_s(trial_folder: Path) -> float:
    """When the trial's first attempt was claimed, in seconds since 1970; now if no file tells."""
    for attempt in attempts(trial_folder):
        claim = attempt.claim()
        if claim is not None:
            return claim.claimed_at_s
    return time.time()


def environment_path(home: Path, digest: str) -> Path:
    """Where a home keeps the packages of an environment: name -> version, as JSON."""
    return home / ENVIRONMENTS / f"{digest}.json"


@lru_cache(maxsize=8)
def _environment(home: str) -> dict[str, Any]:
    digest, pins = environment_lock(), environment_pins()
    path = environment_path(Path(home), digest)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            publish_once(path, msgspec.json.format(msgspec.json.encode(pins)), durable=False)
    except OSError as error:  # the digest still tells whether it was another one
        logger.warning("the environment's packages can't be written to %s: %s", path, error)
    return {"digest": digest, "packages": len(pins)}


@lru_cache(maxsize=1)
def _hardware() -> dict[str, Any]:
    import psutil

    from telemetry.nvidia import gpus

    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _first(config: WorkloadConfig, *names: str) -> Any:
    """The first of these settings that the workload has."""
    return next((getattr(config, name) for name in names if hasattr(config, name)), None)
