"""The stage of a run after its trials: what is missing of the points is measured and kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.attempts import HEARTBEAT_PERIOD_S, HeldAttempt, Superseded
from orchestrator.errors import BusyError, OrreryError
from orchestrator.evaluation.actor import SubjectSpec
from orchestrator.evaluation.points import asked_of, canonical_point, in_prefix_order
from orchestrator.evaluation.store import PointStore
from orchestrator.evaluation.subjects import SubjectPlan, checkpoint_of
from orchestrator.evaluation.work import Rows, SubjectWork
from orchestrator.identity import canonical_json
from orchestrator.ledger import read_trial
from orchestrator.publishing import reproduce_command

if TYPE_CHECKING:
    from orchestrator.evaluation.actor import Result
    from orchestrator.evaluation.rows import Batch
    from orchestrator.study import Study

FAILURES_TOLD = 3
"""So many failed points of a subject are told while it is measured."""
Shown = Callable[[int, int, float], None]
"""Is told how many points of how many are measured, and how many a second."""


@dataclass(frozen=True)
class Evaluated:
    """What a stage came to. `left`: subjects that were given up, in words, and why."""

    measured: int = 0
    failed: int = 0
    left: Mapping[str, str] = field(default_factory=dict)


def measure_points(
    study: Study,
    plans: Sequence[SubjectPlan],
    size: int,
    *,
    tell: Callable[[str], None],
    show: Shown,
    code: str | None = None,
) -> Evaluated:
    """Measures what is missing of subjects that are `open`, with at most `size` workers.

    `code`: what sources of another digest have measured counts as missing. Needs a Ray that is
    up. What was measured is kept whatever ends this, an interrupt too.
    """
    from orchestrator.evaluation.pool import Pool

    works = [_work(study, plan) for plan in plans if plan.state == "open"]
    if not works:
        return Evaluated()
    size = min(size, sum(len(work.wanted) for work in works))
    pool = Pool(size, _options(study), study.file.resources.time_limit_s)
    with _Keeping(study, works, tell, show, code) as keeping:
        try:
            pool.run(works, keeping)
        finally:
            pool.stop()
    return Evaluated(keeping.measured, keeping.failed, {w.where: w.why for w in works if w.why})


def _options(study: Study) -> dict[str, Any]:
    """A worker takes what one rank of a trial takes."""
    wanted = study.file.resources
    options: dict[str, Any] = {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus}
    if wanted.memory_gib:
        options["memory"] = int(wanted.memory_gib * 2**30)
    return options


def _work(study: Study, plan: SubjectPlan) -> SubjectWork:
    trial = plan.trial
    outcome = read_trial(study.home, trial.identity).outcome
    assert outcome is not None
    asked = asked_of(study, trial)
    spec = SubjectSpec(
        subject=plan.subject,
        trial=trial.identity,
        outcome=outcome.number,
        workload=study.file.workload,
        config=trial.config.model_dump(mode="json"),
        checkpoint=checkpoint_of(study.home.trial(trial.identity), outcome),
        digest=outcome.checkpoint_digest,
        again=f"Train it again: {reproduce_command(study)} --again {trial.identity[:8]}",
    )
    order = in_prefix_order(asked, tuple(study.workload.switches(trial.config)))
    return SubjectWork(spec, plan.where, asked, order, frozenset(plan.missing))


class _Keeping:
    """Claims subjects, keeps what they come to, and lets go of them. As `pool.Keeper`."""

    def __init__(
        self,
        study: Study,
        works: Sequence[SubjectWork],
        tell: Callable[[str], None],
        show: Shown,
        code: str | None,
    ) -> None:
        self.study, self.tell, self.show, self.code = study, tell, show, code
        self.measured = self.failed = 0
        self.total = sum(len(work.wanted) for work in works)
        self._held: dict[str, HeldAttempt] = {}
        self._rows: dict[str, Rows] = {}
        self._works = {work.spec.subject: work for work in works}
        self._asked_again_s: dict[str, float] = {}
        self._told: set[str] = set()
        self._failures: dict[str, int] = {}
        self._began_s = time.monotonic()
        self._done = threading.Event()

    def __enter__(self) -> _Keeping:
        threading.Thread(target=self._beat, name="orrery-points", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for subject in list(self._held):
            self._let_go(self._works[subject])
        self.show(self.measured + self.failed, self.total, self._rate())

    def begin(self, work: SubjectWork) -> bool:
        subject = work.spec.subject
        now_s = time.monotonic()
        if now_s < self._asked_again_s.get(subject, 0.0):
            return False
        store = self._store(work)
        held = None
        try:
            held = store.claim(self.study.instance, self.study.code_digest)
            store.note_open(work.spec.trial, work.spec.outcome)
            # another run may have measured some since this one was planned
            missing = work.wanted - store.known(work.wanted, self.code).measured
        except BusyError:
            self._asked_again_s[subject] = now_s + 1.0
            if subject not in self._told:
                self._told.add(subject)
                self.tell(f"another run measures {work.where}: waits for it")
            return False
        except (OSError, OrreryError) as error:
            work.give_up(f"its folder cannot be used: {error}")
            if held is not None:
                store.release(held)
            return True
        self._held[subject], self._rows[subject] = held, Rows(self.study.code_digest)
        self.total -= len(work.wanted) - len(missing)
        work.begin(missing)
        return True

    def keep(self, work: SubjectWork, results: Mapping[int, Result]) -> None:
        subject = work.spec.subject
        if subject not in self._held:  # another process has taken over: these are its to measure
            return
        rows = self._rows[subject]
        rows.add(work, results)
        bad = {i: result.error for i, result in results.items() if result.error is not None}
        self.failed += len(bad)
        self.measured += len(results) - len(bad)
        for index, error in bad.items():
            self._tell_failed(work, index, error)
        if rows.are_due:
            self._write(work)

    def _tell_failed(self, work: SubjectWork, index: int, error: str) -> None:
        """Not every one of thousands."""
        told = self._failures[work.spec.subject] = self._failures.get(work.spec.subject, 0) + 1
        point = canonical_json(canonical_point(work.asked.points[index]))
        if told <= FAILURES_TOLD:
            self.tell(f"{work.where}: the point {point} failed: {error}")
        elif told == FAILURES_TOLD + 1:
            self.tell(f"{work.where}: more points failed: orrery status says how many")

    def end(self, work: SubjectWork) -> None:
        if work.spec.subject in self._held:
            self._let_go(work)
        if work.why:
            self.tell(f"{work.where}: points are left: {work.why}")

    def tick(self) -> None:
        for subject, rows in list(self._rows.items()):
            if rows.are_due:
                self._write(self._works[subject])
        self.show(self.measured + self.failed, self.total, self._rate())

    # -- files ------------------------------------------------------------------------------------

    def _store(self, work: SubjectWork) -> PointStore:
        return PointStore.of(self.study.home, work.spec.subject, self.study.workload.version)

    def _write(self, work: SubjectWork) -> None:
        subject, rows = work.spec.subject, self._rows[work.spec.subject]
        batch = rows.batch(work)
        try:
            if batch is not None:
                self._store(work).append(self._held[subject], batch)
                rows.forget()  # not before: an interrupt may come between
        except Superseded:
            del self._held[subject], self._rows[subject]
            self._lost(batch)
            work.give_up(
                "another process has taken over: what it measures is known to the next run"
            )
        except OSError as error:
            rows.forget()
            self._lost(batch)
            work.give_up(f"what was measured cannot be written: {error}")

    def _lost(self, batch: Batch | None) -> None:
        """What could not be kept was not measured."""
        for row in batch.rows if batch is not None else ():
            self.measured -= row.error is None
            self.failed -= row.error is not None

    def _let_go(self, work: SubjectWork) -> None:
        subject, store = work.spec.subject, self._store(work)
        self._write(work)
        held = self._held.pop(subject, None)
        self._rows.pop(subject, None)
        if held is None:
            return
        try:
            store.tidy(held)
            known = store.known(work.asked.hashes)
            if len(known.measured) == len(work.asked.hashes):
                store.note_whole()
        except (OSError, OrreryError, Superseded) as error:
            self.tell(f"{work.where}: {error}")
        finally:
            store.release(held)

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_PERIOD_S):
            for held in list(self._held.values()):
                held.beat()

    def _rate(self) -> float:
        return (self.measured + self.failed) / max(1e-9, time.monotonic() - self._began_s)
