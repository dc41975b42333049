"""SLURM's own commands, each with a time limit, and its own words where it refuses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cluster.contract import ClusterError
from cluster.slurm.limits import (
    ClusterLimits,
    Partition,
    limits_from,
    partitions_from,
)

IDS_PER_COMMAND: Final = 1000
CANCELLED_PER_COMMAND: Final = 200
CANCEL_TIMEOUT_S: Final = 120
"""scancel asks the controller for one job after the other."""

_PLAIN: Final = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}

_names: dict[tuple[str, ...], str] = {}
"""Names of clusters, by what decides which one is asked."""

_TRANSIENT = re.compile(
    r"unable to contact|timed out|connection refused|connect failure|temporarily|try again"
    r"|communication|not responding|backup|gave no answer|zero bytes|reset by peer|broken pipe"
    r"|no route to host|unreachable|not connected|send failure|receive failure",
    re.IGNORECASE,
)
_QUEUE_FULL = re.compile(r"(?:Assoc|QOS)\w*Submit\w*")
_NO_SUCH_JOB = re.compile(r"invalid job id|already completing or completed", re.IGNORECASE)


class SlurmError(ClusterError):
    """A command of SLURM refused or gave no answer, in its own words."""

    @property
    def is_transient(self) -> bool:
        """Whether the controller could not be reached, rather than that it refused."""
        return bool(_TRANSIENT.search(str(self)))

    @property
    def says_queue_full(self) -> bool:
        """Whether a limit of the association or QOS on jobs in the queue was hit."""
        return bool(_QUEUE_FULL.search(str(self)))

    @property
    def says_no_such_job(self) -> bool:
        """Whether SLURM knows no such job (any more)."""
        return bool(_NO_SUCH_JOB.search(str(self)))


@dataclass(frozen=True)
class Slurm:
    """The SLURM that this host submits to."""

    environment: Mapping[str, str] = field(default_factory=lambda: _environment(os.environ))

    @classmethod
    def find(cls) -> Slurm:
        """The SLURM whose commands are on PATH. Raises `ClusterError` where there is none."""
        missing = [name for name in ("sbatch", "squeue", "scontrol") if not shutil.which(name)]
        if missing:
            raise ClusterError(
                f"No SLURM here: {', '.join(missing)} not found on PATH. Run this on a login node "
                "of the cluster, or use --on local."
            )
        return cls()

    def ask(self, words: Sequence[str], timeout_s: float = 30, without: Iterable[str] = ()) -> str:
        """What a command prints. `without`: environment variables it is not to see.

        Raises `SlurmError` with the command's own words, also when it does not answer in time.
        """
        unseen = set(without)
        seen = {key: value for key, value in self.environment.items() if key not in unseen}
        if words[0] != "sbatch":  # which hands its environment on to the job
            seen |= _PLAIN
        try:
            done = _run(list(words), seen, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise SlurmError(f"{words[0]} gave no answer within {timeout_s:g} s") from error
        except OSError as error:
            raise SlurmError(f"{words[0]}: {error.strerror or error}") from error
        if done.returncode != 0:
            raise SlurmError(f"{words[0]}: {_own_words(words[0], done)}")
        return done.stdout

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancels jobs; one that has ended is no error. Raises `SlurmError`."""
        for some in _bunches(ids, CANCELLED_PER_COMMAND):
            try:
                self.ask(["scancel", "--quiet", *some], CANCEL_TIMEOUT_S)
            except SlurmError as error:
                if not error.says_no_such_job:
                    raise

    def release(self, ids: Iterable[str]) -> None:
        """Lets held jobs start. Raises `SlurmError`."""
        for some in _bunches(ids):
            self.ask(["scontrol", "release", ",".join(some)])

    def requeue(self, id: str) -> None:
        """Puts a running job back into the queue. Raises `SlurmError`."""
        self.ask(["scontrol", "requeue", id])

    def settings_of_cluster(self) -> ClusterLimits:
        """The limits that the controller and the accounting tell. Raises `SlurmError`."""
        limits = limits_from(self.ask(["scontrol", "show", "config"]), self._max_submit())
        _names[self._which()] = limits.cluster
        return limits

    def cluster_name(self) -> str:
        """What this SLURM is called (`ClusterName`), asked for once; empty if it does not tell.
        Raises `SlurmError`."""
        key = self._which()
        if key not in _names:
            _names[key] = limits_from(self.ask(["scontrol", "show", "config"]), None).cluster
        return _names[key]

    def _which(self) -> tuple[str, ...]:
        """What decides which SLURM answers."""
        seen = self.environment
        command = shutil.which("scontrol", path=seen.get("PATH")) or ""
        return (command, seen.get("SLURM_CONF", ""), seen.get("SLURM_CLUSTERS", ""))

    def partitions(self) -> list[Partition]:
        """All partitions, as far as this user sees them. Raises `SlurmError`."""
        return partitions_from(self.ask(["sinfo", "--noheader", "--format=%P|%a|%l|%D"]))

    def associations(self, field: str) -> set[str]:
        """What the accounting holds for this user, e.g. its accounts. Raises `SlurmError`, also
        where there is no accounting."""
        words = ["sacctmgr", "--noheader", "--parsable2", "show", "associations"]
        said = self.ask([*words, f"user={_user()}", f"format={field}"], timeout_s=10)
        return {value for line in said.splitlines() for value in line.split(",") if value}

    def _max_submit(self) -> int | None:
        """None where there is no accounting, or where it sets no limit."""
        try:
            found = self.associations("MaxSubmitJobs")
        except SlurmError:
            return None
        return min((int(number) for number in found if number.isdigit()), default=None)


def _user() -> str:
    import getpass

    return getpass.getuser()


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What the commands see: nothing of the job that this process may itself run in, which would
    pass into the jobs it submits, and no formats of the user's."""
    return {
        key: value
        for key, value in ours.items()
        if not key.startswith(("SLURM_", "SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SUBMITIT_"))
        or key in ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")  # where it is, and who asks
    }


def _own_words(command: str, done: subprocess.CompletedProcess[str]) -> str:
    said = done.stderr.strip() or done.stdout.strip()
    lines = [
        re.sub(rf"^{re.escape(command)}: (?:error: |fatal: )?", "", line.strip())
        for line in said.splitlines()
        if line.strip()
    ]
    return "; ".join(lines) or f"failed without a word (exit status {done.returncode})"


def _run(
    words: list[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`, in a session of its own: at the time limit, and on an interrupt, what
    the command has started goes with it. A wrapper's child would hold the pipes open for ever."""
    with subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _bunches(ids: Iterable[str], most: int = IDS_PER_COMMAND) -> Iterable[list[str]]:
    """Ids in lots that fit on a command line."""
    every = list(ids)
    return [every[i : i + most] for i in range(0, len(every), most)]
