"""Attempts at a trial: claimed by an exclusive mkdir, superseded by a higher number.

The highest attempt of a trial holds it. Whoever claims the next number first has made sure that
the one before has ended or is dead; a process that was only asleep finds itself superseded
before it commits anything.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from orchestrator.errors import BusyError, DamagedFileError
from orchestrator.home import flush_folder, publish_once, write_whole
from orchestrator.leaving import Ear, ToldToLeave
from orchestrator.process import Process
from orchestrator.records import Claim, End, Failure, Outcome, State, encode
from workloads.contract import Checkpoint, TrialStopped

HEARTBEAT_PERIOD_S = 10.0
HEARTBEAT_LIMIT_S = 120.0
"""After so long without a heartbeat a process of another host counts as dead. Should it only have
been cut off, it finds itself superseded and commits nothing."""
UNCLAIMED_GRACE_S = 15.0
"""How long a folder without claim.json may belong to a process that is about to write it."""

R = TypeVar("R", Claim, End, Outcome)
Life = Literal["alive", "dead", "unknown"]


class Superseded(TrialStopped):
    """Another attempt holds the trial: this one stops and commits nothing."""


@dataclass(frozen=True)
class Attempt:
    """An attempt's folder, as anybody may read it."""

    folder: Path

    @property
    def number(self) -> int:
        return int(self.folder.name.removeprefix("attempt-"))

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def claim(self) -> Claim | None:
        """Who claimed it; None before that is written, and where a power cut emptied the file."""
        path = self.folder / "claim.json"
        if path.exists() and path.stat().st_size == 0:
            return None
        return _read(path, Claim)

    def is_for(self, outcome_number: int) -> bool:
        """Whether it was claimed to publish under that number."""
        claim = self.claim()
        return claim is not None and claim.outcome_number == outcome_number

    def ran(self, code_digest: str) -> bool:
        """Whether it was claimed by a process with that source code."""
        claim = self.claim()
        return claim is not None and claim.code_digest == code_digest

    def end(self) -> End | None:
        return _read(self.folder / "end.json", End)

    def finish(
        self,
        state: State,
        failure: Failure | None = None,
        *,
        told: str = "",
        replace: bool = False,
    ) -> bool:
        """Records how it ended; False if that was recorded before and is not to be replaced."""
        newest = latest_checkpoint(self.folder.parent)
        record = encode(End(state, time.time(), failure, newest.step if newest else None, told))
        if replace:
            write_whole(self.folder / "end.json", record)
            return True
        return publish_once(self.folder / "end.json", record)

    def lost(self, failure: Failure) -> bool:
        """As `finish`, of a process that ended without a word: no failure if it was told to."""
        told = self.told()
        return self.finish("preempted", None if told else failure, told=told)

    def told(self) -> str:
        """Why its process was told to leave; empty if it was not."""
        try:
            return (self.folder / "told.txt").read_text()
        except OSError:
            return ""

    def note_told(self, cause: str) -> None:
        """Keeps why its process was told to leave, in case it ends before it can say so."""
        with suppress(OSError):
            (self.folder / "told.txt").write_text(cause)

    def life(self) -> Life:
        """Whether its process still works on it: by its pid on this host, by its heartbeat on
        another. Of a job of SLURM that no longer beats, its queue tells whether it has ended; as
        long as it can't, that is "unknown", never "dead".
        """
        if (self.folder / "end.json").exists():
            return "dead"
        claim = self.claim()
        if claim is None:
            return "alive" if self._age_s(self.folder) < UNCLAIMED_GRACE_S else "dead"
        here = claim.process.alive_here()
        if here is not None:
            return "alive" if here else "dead"
        heartbeat = self.folder / "heartbeat"
        beat = heartbeat if heartbeat.exists() else self.folder / "claim.json"
        if self._age_s(beat) < HEARTBEAT_LIMIT_S:
            return "alive"
        if not claim.process.slurm_job:
            return "dead"
        from orchestrator.slurm_liveness import life_of_job

        return life_of_job(claim.process.slurm_job, claim.process.slurm_cluster)

    def beat(self) -> None:
        """Says "still here" to other hosts."""
        with suppress(OSError):
            (self.folder / "heartbeat").touch()

    def _age_s(self, path: Path) -> float:
        """Seconds since `path` was written, on the file server's clock."""
        with suppress(OSError), tempfile.TemporaryFile(dir=self.folder) as now:
            return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime
        with suppress(OSError):
            return time.time() - path.stat().st_mtime
        return 0.0


def attempts(trial_folder: Path) -> list[Attempt]:
    """Every attempt at a trial, the first one first."""
    try:
        names = [name for name in os.listdir(trial_folder) if name.startswith("attempt-")]
    except FileNotFoundError:
        return []
    return [Attempt(trial_folder / name) for name in sorted(names)]


def claim_attempt(
    trial_folder: Path,
    *,
    outcome_number: int,
    study: str,
    token: str | None = None,
    code_digest: str = "",
) -> HeldAttempt:
    """Claims the next attempt for this process. `token` lets its sender know it again.

    Raises `BusyError` if the last attempt may still be alive, or somebody was quicker: to claim,
    or to publish under that number.
    """
    trial_folder.mkdir(parents=True, exist_ok=True)
    before = attempts(trial_folder)
    if before:
        last = before[-1]
        published = any(item.attempt == last.number for item in outcomes(trial_folder))
        if not published:
            if (life := last.life()) != "dead":
                raise BusyError(f"attempt {last.number} of {trial_folder.name} is {life}")
            last.lost(Failure("node_lost", "its process ended without a word"))
    number = before[-1].number + 1 if before else 0
    folder = trial_folder / f"attempt-{number:04d}"
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise BusyError(f"attempt {number} of {trial_folder.name} was claimed first") from error
    if any(item.number >= outcome_number for item in outcomes(trial_folder)):
        folder.rmdir()  # published since the caller looked
        raise BusyError(f"{trial_folder.name} was published meanwhile")
    claim = Claim(
        attempt=number,
        outcome_number=outcome_number,
        token=token or uuid.uuid4().hex,
        process=Process.current(),
        study=study,
        claimed_at_s=time.time(),
        code_digest=code_digest,
    )
    # its process does not outlive the machine either
    try:
        write_whole(folder / "claim.json", encode(claim), durable=False)
    except OSError:  # a full disk: a folder without a claim would seem to be somebody's
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return HeldAttempt(folder, claim)


@dataclass(frozen=True)
class HeldAttempt(Attempt):
    """An attempt this process has claimed; every commit checks that it still holds it."""

    held: Claim

    def verify(self) -> None:
        """Raises `Superseded` if another attempt has taken over."""
        current = attempts(self.folder.parent)
        claim = self.claim()
        mine = claim is not None and claim.token == self.held.token
        if not mine or current[-1].number != self.number or self.end() is not None:
            raise Superseded(f"attempt {self.number} of {self.folder.parent.name} was superseded")

    def publish(self, outcome: Outcome) -> bool:
        """Publishes the outcome under the number fixed at the claim; the first one wins."""
        self.verify()
        path = self.folder.parent / f"outcome-{outcome.number:04d}.json"
        return publish_once(path, encode(outcome))


@dataclass(frozen=True)
class AttemptCheckpoints:
    """The checkpoints of a trial, as the attempt that holds it sees them.

    A checkpoint is `checkpoint/step-<12 digits>`, made under another name and renamed when it is
    complete. Only the last one is kept. `afresh` passes over those that led to another outcome.
    """

    attempt: HeldAttempt
    afresh: bool = False
    same_code: bool = False
    """Passes over those that other source code has made."""
    ear: Ear = field(default_factory=Ear, repr=False, compare=False)

    def latest(self) -> Checkpoint | None:
        held = self.attempt.held
        return latest_checkpoint(
            self.attempt.folder.parent,
            held.outcome_number if self.afresh else None,
            held.code_digest if self.same_code else None,
        )

    def codes(self) -> list[str]:
        """Digests of the code that made the latest checkpoint and of that which goes on from it."""
        latest = self.latest()
        claim = Attempt(latest.path.parent.parent).claim() if latest else None
        before = [claim.code_digest] if claim is not None else []
        return list(dict.fromkeys([*before, self.attempt.held.code_digest]))

    def wanted(self) -> bool:
        return self.ear.heard(self.attempt) is not None

    @contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        """As in the protocol. Raises `ToldToLeave` once it is complete, if that is wanted."""
        folder = self.attempt.folder / "checkpoint"
        folder.mkdir(exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        try:
            yield partial
            flush_folder(partial)
            self.attempt.verify()
            final = folder / f"step-{step:012d}"
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
            flush_folder(folder, files=False)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for older in folder.iterdir():
            if older != final:
                shutil.rmtree(older, ignore_errors=True)
        if (word := self.ear.heard(self.attempt)) is not None:
            raise ToldToLeave(word)


def latest_checkpoint(
    trial_folder: Path, outcome_number: int | None = None, code_digest: str | None = None
) -> Checkpoint | None:
    """The complete checkpoint with the most steps; of equals, the newest attempt's.

    With `outcome_number`, only of the attempts that were to publish under it; with `code_digest`,
    only of those that ran that code.
    """
    found = [
        Checkpoint(path, int(path.name.removeprefix("step-")))
        for attempt in attempts(trial_folder)
        if outcome_number is None or attempt.is_for(outcome_number)
        if code_digest is None or attempt.ran(code_digest)
        for path in sorted((attempt.folder / "checkpoint").glob("step-*"))
    ]
    return max(found, key=lambda c: (c.step, c.path.parent.parent.name), default=None)


def outcomes(trial_folder: Path) -> list[Outcome]:
    """Every outcome of a trial, the highest number last: that one is read."""
    try:
        names = [name for name in os.listdir(trial_folder) if name.startswith("outcome-")]
    except FileNotFoundError:
        return []
    found = [_read(trial_folder / name, Outcome) for name in sorted(names)]
    return [outcome for outcome in found if outcome is not None]


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DamagedFileError(
            f"'{path}' cannot be read ({error}). Move it away and run the study again; "
            "orrery ledger verify lists all such files."
        ) from error
