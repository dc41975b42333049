"""What an attempt is told from outside: to leave, since its process is about to be stopped, or
since its study, or this trial of it, was cancelled. It saves, ends, and can be resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.cancelling import asked
from orchestrator.engine import notice
from workloads.contract import Reporter, TrialStopped

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.attempts import HeldAttempt

LISTEN_EVERY_S = 2.0
"""So seldom is a file server asked whether the study was cancelled."""


@dataclass(frozen=True)
class Word:
    """What an attempt was told: the state it is to end in, and why, in one line."""

    state: Literal["preempted", "cancelled"]
    cause: str


CANCELLED = Word("cancelled", "orrery cancel")


class ToldToLeave(TrialStopped):
    """The attempt ends because it was told to, after its newest checkpoint was saved."""

    def __init__(self, word: Word) -> None:
        super().__init__(word)  # what it is copied and pickled by
        self.word = word


class Ear:
    """Listens for one attempt. What was heard once stays, so that all who ask it act alike."""

    def __init__(self) -> None:
        self._word: Word | None = None
        self._listened_at_s = float("-inf")

    def heard(self, attempt: HeldAttempt) -> Word | None:
        """What the attempt was told; None while it is to go on. Costs next to nothing."""
        if self._word is None:
            self._word = self._by_files(attempt) or noticed()
        return self._word

    def _by_files(self, attempt: HeldAttempt) -> Word | None:
        now = time.monotonic()
        if now - self._listened_at_s < LISTEN_EVERY_S:
            return None
        self._listened_at_s = now
        trial = attempt.folder.parent
        study = trial.parent.parent / "studies" / attempt.held.study
        return cancelled(study, trial.name) or passed_on(attempt)


def noticed() -> Word | None:
    """What this process was told, whatever it runs."""
    cause = notice.wanted()
    return None if cause is None else Word("preempted", cause)


def cancelled(study_folder: Path, identity: str) -> Word | None:
    """Whether the study was cancelled, or this trial for it."""
    return CANCELLED if asked(study_folder, identity) else None


def passed_on(attempt: HeldAttempt) -> Word | None:
    """What another process of the same attempt was told: its ranks may lie on several nodes, of
    which only one is taken away."""
    told = attempt.told()
    if not told:
        return None
    return CANCELLED if told == CANCELLED.cause else Word("preempted", told)


def heeding(report: Reporter, attempt: HeldAttempt) -> Reporter:
    """`report`, which also ends an attempt that was told to leave, where nothing is lost by it:
    at the step of its newest checkpoint."""
    ear = Ear()

    def reported(step: int, metrics: Mapping[str, float | None]) -> None:
        report(step, metrics)
        word = ear.heard(attempt)
        if word is not None and (attempt.folder / "checkpoint" / f"step-{step:012d}").is_dir():
            raise ToldToLeave(word)

    return reported
