"""How tests make what a watcher sees: attempts that this process holds, with spools of any kind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import Study
from orchestrator.attempts import HeldAttempt, claim_attempt
from orchestrator.home import Home
from orchestrator.ledger import record_identity
from orchestrator.records import Outcome, Provenance
from orchestrator.trials import Trial
from telemetry import Emitter, spool_path
from tests.orchestrator.quick_study import ROOT, environment, quick_study, rule


def study_of(home: Home, *arms: Any, **parts: Any) -> Study:
    """A study with a rule, not yet run."""
    return Study.load(quick_study(*arms, **{"verdict": rule(), **parts}), home=home.root)


def trial_of(study: Study, name: str, seed: int = 0) -> Trial:
    return next(t for t in study.trials() if (t.arm, t.seed) == (name, seed))


@dataclass
class Held:
    """A trial that this process works on by hand, with an emitter for each rank."""

    trial: Trial
    attempt: HeldAttempt
    ranks: list[Emitter] = field(default_factory=list)

    @property
    def emitter(self) -> Emitter:
        return self.ranks[0]

    def spool(self, rank: int = 0) -> Path:
        return spool_path(self.attempt.folder, rank)

    def publish(self, **metrics: float) -> None:
        publish(self.attempt, self.trial, **metrics)


@contextmanager
def held(study: Study, name: str, seed: int = 0, ranks: int = 1) -> Iterator[Held]:
    """Claims a trial as a worker does: a watcher sees it run while the block lasts."""
    trial = trial_of(study, name, seed)
    attempt = claim(study, trial)
    with ExitStack() as stack:
        emitters = [
            Emitter(
                spool_path(attempt.folder, rank),
                trial=trial.identity,
                attempt=attempt.number,
                rank=rank,
                ranks=ranks,
            )
            for rank in range(ranks)
        ]
        for emitter in emitters:
            stack.enter_context(emitter)
        yield Held(trial, attempt, emitters)


def claim(study: Study, trial: Trial) -> HeldAttempt:
    folder = study.home.trial(trial.identity)
    attempt = claim_attempt(folder, outcome_number=0, study=study.instance)
    record_identity(study.home, trial.identity, dict(trial.document))
    return attempt


def publish(
    attempt: HeldAttempt,
    trial: Trial,
    *,
    flags: Sequence[str] = (),
    notes: Sequence[str] = (),
    **metrics: float,
) -> None:
    """The outcome of a trial, as its worker publishes it."""
    now = time.time()
    outcome = Outcome(
        identity=trial.identity,
        number=0,
        attempt=attempt.number,
        study=attempt.held.study,
        provenance=Provenance(code_digest=""),
        started_at_s=now - 10.0,
        finished_at_s=now,
        metrics=dict(metrics),
        flags=list(flags),
        notes=list(notes),
        observed=dict(trial.observed),
    )
    assert attempt.publish(outcome)


def drive_and_die(study_file: Path, home: Home) -> None:
    """A process takes the study's driver seat and dies in it."""
    code = (
        "import os\n"
        "from orchestrator import Study\n"
        "from orchestrator.driving import driver_seat\n"
        f"study = Study.load({str(study_file)!r}, home={str(home.root)!r})\n"
        "driver_seat(study).__enter__()\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment())
