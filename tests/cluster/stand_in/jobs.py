"""Jobs of the stand-in: what a batch script asks for, and a process that runs it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cluster.slurm.settings import seconds

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
_SHORT = {"-p": "partition", "-J": "job-name", "-H": "hold", "-t": "time", "-N": "nodes"}


class Refused(Exception):
    """What a command says on stderr."""


@dataclass
class Script:
    """What one sbatch handed over."""

    base: int
    text: str
    options: dict[str, str]
    folder: str
    environment: dict[str, str]

    def option(self, name: str, default: str = "") -> str:
        return self.options.get(name, default)

    @property
    def limit_s(self) -> float:
        return float(seconds(self.option("time", "60")))

    @property
    def notice(self) -> tuple[signal.Signals, float] | None:
        """Which signal to send to the steps, and how long before the limit."""
        found = re.fullmatch(r"(\w+)@(\d+)", self.option("signal"))
        return (signal.Signals[f"SIG{found[1]}"], float(found[2])) if found else None


@dataclass
class Job:
    """A job, or one task of an array."""

    script: Script
    index: int | None
    number: int
    state: str = "PENDING"
    reason: str = "Resources"
    held: bool = False
    nodes: list[str] = field(default_factory=list)
    restarts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    noticed: bool = False
    leaving: str | None = None
    """The state it is on its way to, once it was told to end; PENDING: back into the queue."""
    kill_at: float = 0.0

    @property
    def id(self) -> str:
        return str(self.script.base) if self.index is None else f"{self.script.base}_{self.index}"

    @property
    def shown_state(self) -> str:
        return "COMPLETING" if self.leaving else self.state

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def start(self, nodes: list[str]) -> None:
        """Runs the batch script, as slurmd would on the first node. Raises `OSError`."""
        self.nodes, self.state, self.reason = nodes, "RUNNING", "None"
        self.started_at, self.noticed = time.monotonic(), False
        self.steps.unlink(missing_ok=True)
        path = self.steps.with_suffix(".sh")
        path.write_text(self.script.text)
        output = self.filled(self.script.option("output", "slurm-%j.out"))
        place = self.script.option("chdir", self.script.folder)
        with open(Path(place, output), "ab") as log:
            self.process = subprocess.Popen(
                ["bash", str(path)],
                cwd=place,
                env={**self.script.environment, **self._variables()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def steps(self) -> Path:
        """Where srun notes the pids of its tasks."""
        return Path(self.script.environment["STAND_IN_STEPS"], f"{self.number}.steps")

    def filled(self, pattern: str) -> str:
        array = str(self.script.base)
        index = "4294967294" if self.index is None else str(self.index)
        for mark, value in (("%A", array), ("%a", index), ("%j", str(self.number)), ("%t", "0")):
            pattern = pattern.replace(mark, value)
        return pattern.replace("%x", self.script.option("job-name"))

    def signal_steps(self, number: signal.Signals) -> None:
        """What `scancel --signal` and `sbatch --signal` without `B:` reach: the ranks alone."""
        with contextlib.suppress(FileNotFoundError):
            for pid in self.steps.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), number)

    def tell_to_leave(self, becomes: str, kill_wait_s: float) -> None:
        """SIGCONT and SIGTERM to all of it, SIGKILL later."""
        if self.leaving or self.process is None:
            return
        self.leaving, self.kill_at = becomes, time.monotonic() + kill_wait_s
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.signal_steps(number)
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _variables(self) -> dict[str, str]:
        script, nodes = self.script, ",".join(self.nodes)
        per_node = int(script.option("ntasks-per-node", "1"))
        cpus = script.option("cpus-per-task", "1")
        said = {
            "SLURM_JOB_ID": str(self.number),
            "SLURM_JOBID": str(self.number),
            "SLURM_JOB_NAME": script.option("job-name"),
            "SLURM_JOB_NODELIST": nodes,
            "SLURM_NODELIST": nodes,
            "SLURM_JOB_NUM_NODES": str(len(self.nodes)),
            "SLURM_NNODES": str(len(self.nodes)),
            "SLURM_NTASKS": script.option("ntasks", str(per_node * len(self.nodes))),
            "SLURM_CPUS_PER_TASK": cpus,
            "SLURM_CPUS_ON_NODE": str(int(cpus) * per_node),
            "SLURM_JOB_PARTITION": script.option("partition"),
            "SLURM_SUBMIT_DIR": script.folder,
            "SLURMD_NODENAME": self.nodes[0],
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NODEID": "0",
        }
        if self.index is not None:
            said |= {
                "SLURM_ARRAY_JOB_ID": str(script.base),
                "SLURM_ARRAY_TASK_ID": str(self.index),
            }
        if self.restarts:
            said["SLURM_RESTART_COUNT"] = str(self.restarts)
        return said


def options_of(words: list[str], environment: dict[str, str]) -> tuple[dict[str, str], str, str]:
    """Options, folder-relative path and text of a script: as with sbatch, the command line goes
    before the environment, and that before the script's own lines. Raises `Refused`."""
    given, rest = _read(words)
    if "wrap" in given:
        path, text = "", f"#!/bin/sh\n{given['wrap']}\n"
    elif rest:
        path = rest[0]
        try:
            text = Path(path).read_text()
        except OSError as error:
            raise Refused(f"sbatch: error: Unable to open file {path}") from error
    else:
        raise Refused("sbatch: error: the stand-in takes a script's path")
    lines = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("#SBATCH ")]
    own, _ = _read([word for line in lines for word in line])
    by_shell = {
        name: environment[variable]
        for name, variable in (("partition", "SBATCH_PARTITION"), ("time", "SBATCH_TIMELIMIT"))
        if variable in environment
    }
    return {**own, **by_shell, **given}, path, text


def _read(words: list[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    waiting, rest = list(words), []
    while waiting:
        word = waiting.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            options[name] = value if equals else "yes"
        elif word in _SHORT:
            options[_SHORT[word]] = "yes" if word == "-H" else waiting.pop(0)
        else:
            rest.append(word)
    return options, rest


def indices(array: str) -> tuple[list[int], int]:
    """The indices of `0-9,20%5`, and how many may run at once."""
    which, _, most = array.partition("%")
    found: list[int] = []
    for part in which.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found, int(most) if most else len(found)
