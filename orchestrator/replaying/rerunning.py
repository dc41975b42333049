"""Runs a recorded trial again in a home of its own, in a fresh process, and cleans up after it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from orchestrator.attempts import attempts, outcomes
from orchestrator.engine.episode import VARIABLES
from orchestrator.engine.ticket import Ticket
from orchestrator.home import Home
from orchestrator.identity import identity_config, observed_config
from orchestrator.provenance import provenance
from orchestrator.replaying.child import ReplayJob
from orchestrator.replaying.recorded import CannotReplay, Recorded
from telemetry import spool_path
from telemetry.scratch import left_behind, scratch_prefix
from telemetry.spool import last_event
from workloads.contract import Workload, WorkloadConfig
from workloads.errors import InputError
from workloads.registry import load_workload
from workloads.source_digest import workload_digest

logger = logging.getLogger(__name__)

SCRATCH = ".replay-"
_LOOK_S = 0.2
_END_PATIENCE_S = 5.0

Progress = Callable[[int], object]
"""Told the step that the replay has reached."""


@dataclass(frozen=True)
class Replayable:
    """A recorded trial whose code and inputs are there. Build it with `prepare`."""

    recorded: Recorded
    workload: Workload[Any]
    config: WorkloadConfig


def prepare(recorded: Recorded) -> Replayable:
    """Checks that what the trial needs is still what it was. Raises `CannotReplay`."""
    name = str(recorded.context.facts.get("workload", recorded.document["workload"]))
    try:
        workload = load_workload(name)
    except InputError as error:
        raise CannotReplay(f"{recorded.identity}: {error}") from error
    version = recorded.document["workload_version"]
    if workload.version != version:
        commit = recorded.context.git_commit
        advice = f" Check out commit {commit[:12]} to replay it." if commit else ""
        raise CannotReplay(
            f"{recorded.identity} was run by version {version} of workload '{name}', this code is "
            f"version {workload.version}: it gives other numbers.{advice}"
        )
    try:
        config = workload.Config.model_validate(recorded.config)
    except ValidationError as error:
        raise CannotReplay(
            f"{recorded.identity}: its configuration is none of '{name}' any more: {error}"
        ) from error
    _check_inputs(recorded, workload, config)
    return Replayable(recorded, workload, config)


def _check_inputs(recorded: Recorded, workload: Workload[Any], config: WorkloadConfig) -> None:
    cache = recorded.home.fingerprints
    with tempfile.TemporaryDirectory() as folder:  # the home is only read
        copied = Path(folder) / cache.name
        if cache.exists():
            shutil.copy(cache, copied)
        try:
            now = identity_config(
                config, lambda s, value: workload.fingerprint(s.kind, value, config, copied)
            )
        except InputError as error:
            raise CannotReplay(f"{recorded.identity}: an input is gone: {error}") from error
    then = recorded.document["config"]
    changed = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    if changed:
        told = "; ".join(f"{key} was {then.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise CannotReplay(
            f"{recorded.identity}: what it ran from has changed: {told}. "
            "Put the files back that it was run with."
        )


@contextmanager
def scratch_home(recorded: Recorded, keep: bool = False) -> Iterator[Home]:
    """An empty home beside the trials of the real one; it goes when the block ends.

    One that is to be kept has a name that nothing removes later.
    """
    for path in left_behind(recorded.home.root, SCRATCH):  # of replays that were killed
        shutil.rmtree(path, ignore_errors=True)
    name = recorded.identity[:8]
    prefix = f"{SCRATCH}kept-{name}-" if keep else scratch_prefix(f"{SCRATCH}{name}-")
    try:
        root = Path(tempfile.mkdtemp(prefix=prefix, dir=recorded.home.root))
    except OSError as error:  # a home that may only be read, or is full
        root = Path(tempfile.mkdtemp(prefix=prefix))
        logger.warning(
            "'%s' cannot be written (%s): replaying in '%s'",
            recorded.home.root,
            error.strerror,
            root,
        )
    try:
        if recorded.home.fingerprints.exists():  # hashing a large model again takes minutes
            shutil.copy(recorded.home.fingerprints, root)
        yield Home(root).writable()
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


def rerun(trial: Replayable, scratch: Home, told: Progress) -> None:
    """Runs it in `scratch`, in as many attempts as are compared, if it takes as many."""
    recorded = trial.recorded
    for _ in range(max(1, recorded.tries)):
        job = _job(trial, scratch)
        path = scratch.root / "job.json"
        path.write_bytes(msgspec.json.encode(job))
        _run(path, _environment(recorded), scratch.trial(recorded.identity), told)
        tries = attempts(scratch.trial(recorded.identity))
        if not tries:
            said = (scratch.root / "output.txt").read_text(errors="replace").strip()
            raise CannotReplay(
                f"{recorded.identity}: its process could not start: {said.splitlines()[-1:]}"
            )
        end = tries[-1].end()
        if outcomes(scratch.trial(recorded.identity)) or (end and end.state == "pruned"):
            return


def _job(trial: Replayable, scratch: Home) -> ReplayJob:
    recorded = trial.recorded
    facts = recorded.context.facts
    ticket = Ticket(
        home=str(scratch.root),
        study=str(facts.get("study", "replay")),
        identity=recorded.identity,
        label=str(facts.get("label", recorded.identity)),
        arm=str(facts.get("arm", "")),
        replicate=int(facts.get("replicate", 0)),
        seed=recorded.seed,
        workload=str(facts.get("workload", recorded.document["workload"])),
        config=recorded.config,
        document=recorded.document,
        observed=observed_config(trial.config),
        outcome_number=0,
        provenance=provenance(workload_digest(type(trial.workload))),
        ranks=recorded.ranks,
    )
    ran_whole = recorded.outcome is not None
    return ReplayJob(
        ticket,
        stop_after=None if ran_whole else recorded.last_step,
        gpus=0.0 if recorded.device in (None, "cpu") else 1.0,
    )


def _environment(recorded: Recorded) -> dict[str, str]:
    """This process's environment, with the recorded values of what can change numbers."""
    then: Mapping[str, str] | None = recorded.context.facts.get("variables")
    variables = dict(os.environ)
    if then is not None:
        for name in VARIABLES:
            if name != "CUDA_VISIBLE_DEVICES":  # which device it was says nothing of this machine
                variables.pop(name, None)
                variables.update({name: then[name]} if name in then else {})
    if recorded.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    variables["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    return variables


def _run(job: Path, environment: Mapping[str, str], folder: Path, told: Progress) -> None:
    """One attempt in a fresh process, and its end with whatever it has started."""
    words = [sys.executable, "-m", "orchestrator.replaying.child", str(job)]
    with (job.parent / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_LOOK_S)
            told(_reached(folder))
    finally:
        _end(process)


def _reached(folder: Path) -> int:
    """The last step that the newest attempt has recorded; 0 before the first."""
    tries = attempts(folder)
    if not tries:
        return 0
    with suppress(OSError):
        event = last_event(spool_path(tries[-1].folder, 0))
        return (event.step or 0) if event is not None else 0
    return 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process in order if it still runs, then all that is left of its group."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=_END_PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
