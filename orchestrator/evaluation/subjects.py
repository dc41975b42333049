"""Which models a study asks points of, and how many of those are known: part of its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.attempts import attempts, latest_checkpoint
from orchestrator.evaluation.points import Asked, asked_of, asks_points, subject_of
from orchestrator.evaluation.store import Known, PointStore
from orchestrator.records import Outcome

if TYPE_CHECKING:
    from orchestrator.ledger import TrialRecord
    from orchestrator.planning import PlannedTrial, Selection
    from orchestrator.study import Study
    from orchestrator.trials import Trial

SubjectState = Literal["done", "open", "waits", "left"]
"""`open`: points can be measured; `waits`: its trial comes first; `left`: was not chosen."""


@dataclass(frozen=True)
class SubjectPlan:
    """A trial whose model is asked for points. `missing` are hashes, in the order asked."""

    trial: Trial
    state: SubjectState
    asked: int
    missing: tuple[str, ...]
    failed: int = 0
    subject: str = ""
    """Empty while the trial has no outcome."""
    damaged: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.trial.arm} seed {self.trial.seed}"

    @property
    def known(self) -> int:
        return self.asked - len(self.missing) - self.failed


def subject_plans(
    study: Study, items: Iterable[PlannedTrial], selection: Selection
) -> tuple[SubjectPlan, ...]:
    """The subjects of a study, each once, in the order of its trials. Raises as `asked_of`.

    What failed counts as missing if it is to be tried again, and with `same_code` what other
    sources have measured.
    """
    from orchestrator.planning import is_in

    found: dict[str, SubjectPlan] = {}
    for item in items:
        trial, outcome = item.trial, item.record.outcome
        if trial.identity in found or not asks_points(study, trial.arm):
            continue
        asked = asked_of(study, trial)
        chosen = is_in(trial, selection)
        if outcome is None or item.action == "run":
            state: SubjectState = "waits" if chosen else "left"
            found[trial.identity] = SubjectPlan(trial, state, len(asked.points), asked.hashes)
            continue
        known = known_points(study, outcome, asked, selection)
        missing = tuple(
            point
            for point in asked.hashes
            if point not in known.measured and (selection.retry or point not in known.failed)
        )
        found[trial.identity] = SubjectPlan(
            trial,
            "done" if not missing else "open" if chosen else "left",
            len(asked.points),
            missing,
            len(known.failed - set(missing)),
            subject_of(outcome),
            known.damaged,
        )
    return tuple(found.values())


def known_points(study: Study, outcome: Outcome, asked: Asked, selection: Selection) -> Known:
    """What is known of a subject's points."""
    store = PointStore.of(study.home, subject_of(outcome), study.workload.version)
    return store.known(asked.hashes, study.code_digest if selection.same_code else None)


def checkpoint_of(trial_folder: Path, outcome: Outcome) -> Path | None:
    """The last checkpoint on the way to an outcome; None if it is gone or there never was one."""
    own = latest_checkpoint(trial_folder, outcome.number)
    if own is not None and _number(own.path) <= outcome.attempt:
        return own.path
    for attempt in reversed(attempts(trial_folder)):  # a wider observation starts from an older one
        steps = sorted((attempt.folder / "checkpoint").glob("step-*"))
        if attempt.number <= outcome.attempt and steps:
            return steps[-1]
    return None


def checkpoint_gone(study: Study, selection: Selection) -> Callable[[Trial, TrialRecord], str]:
    """Why a finished trial has to run again for its points, if it has; else empty."""

    def why(trial: Trial, record: TrialRecord) -> str:
        outcome = record.outcome
        if outcome is None or outcome.checkpoint_step is None:
            return ""
        if not asks_points(study, trial.arm):
            return ""
        if checkpoint_of(study.home.trial(trial.identity), outcome) is not None:
            return ""
        asked = asked_of(study, trial)
        known = known_points(study, outcome, asked, selection)
        settled = known.measured if selection.retry else known.measured | known.failed
        left = sum(point not in settled for point in asked.hashes)
        if not left:
            return ""
        return f"checkpoint gone, and {left} of {len(asked.points)} points not measured: run again"

    return why


def _number(checkpoint: Path) -> int:
    return int(checkpoint.parent.parent.name.removeprefix("attempt-"))
