"""What would run: the trials of a study, what is known of each, and what is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.arms import Arm
from orchestrator.errors import UsageError, unknown
from orchestrator.identity import observed_config
from orchestrator.ledger import Ledger, TrialRecord
from orchestrator.records import State
from orchestrator.trials import Trial

if TYPE_CHECKING:
    from orchestrator.evaluation.subjects import SubjectPlan

SHORTEST_ID = 6
"""Digits of an id that name a trial."""

Action = Literal["known", "run", "failed", "running", "left"]
"""`left`: would run, but was not chosen (`--only`, `--limit`) or was cancelled alone. `failed`:
`orrery retry` runs it."""

CANCELLED_WHY = "cancelled: orrery retry runs it"


@dataclass(frozen=True)
class Selection:
    """Which of the missing trials to run, and which known ones to run again."""

    only: Sequence[str] = ()
    """Names of arms, or starts of trial ids."""
    limit: int | None = None
    again: bool | Sequence[str] = False
    """True for every arm, else as `only`."""
    same_code: bool = False
    retry: bool = False
    """Run failed trials too."""


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of a study with what is known of it and what is to be done."""

    trial: Trial
    record: TrialRecord
    action: Action
    state: State
    outcome_number: int
    why: str = ""
    afresh: bool = False
    """To be computed again from the start, not from the checkpoint of the known outcome."""
    job: str | None = None
    """The job of SLURM's queue that has it, e.g. `12_3`; its action is then `running`."""


@dataclass(frozen=True)
class Plan:
    """The trials of a study in order, one entry per arm × replicate."""

    trials: tuple[PlannedTrial, ...]
    other_code: int = 0
    """How many known trials were made by other source code."""
    arms: tuple[Arm, ...] = ()
    proposals_left: int = 0
    """For a search: ordinals that are still to be proposed."""
    notes: tuple[str, ...] = ()
    subjects: tuple[SubjectPlan, ...] = ()
    """Models that points are asked of, each once."""

    @property
    def open_subjects(self) -> tuple[SubjectPlan, ...]:
        """Those of which points can be measured now."""
        return tuple(subject for subject in self.subjects if subject.state == "open")

    @property
    def known(self) -> int:
        return sum(item.action == "known" for item in self.trials)

    @property
    def to_run(self) -> tuple[PlannedTrial, ...]:
        """What is handed to the engine: each identity once."""
        first: dict[str, PlannedTrial] = {}
        for item in self.trials:
            if item.action == "run":
                first.setdefault(item.trial.identity, item)
        return tuple(first.values())

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(item.state for item in self.trials))

    def _repr_html_(self) -> str:
        from orchestrator.notebook import plan_html

        return plan_html(self)


def make_plan(
    trials: Iterable[Trial],
    arms: Sequence[Arm],
    ledger: Ledger,
    *,
    covers: Any,
    code_digest: str,
    selection: Selection = Selection(),
    proposals_left: int = 0,
    pruned: Collection[str] = (),
    queued: Mapping[str, str] = MappingProxyType({}),
    cancelled: Collection[str] = (),
    must_run: Callable[[Trial, TrialRecord], str] = lambda trial, record: "",
) -> Plan:
    """Subtracts what is known. `covers(observed, asked)` says whether an outcome suffices;
    `pruned` are the trials that a scheduler has ended for this study; `queued` names the job of
    each trial that SLURM's queue has; `cancelled` are the trials that were cancelled alone;
    `must_run` says why one has to run afresh though its outcome suffices, if it has.

    Raises `UsageError` for an arm that the study does not have.
    """
    wanted = list(trials)
    again = selection.again if not isinstance(selection.again, bool) else ()
    for name in (*selection.only, *again):
        if not any(_means(name, trial) for trial in wanted):
            arms_there = {arm.name for arm in arms}
            raise UsageError(unknown("arm or trial id", name, arms_there))
    records = ledger.records(trial.identity for trial in wanted)
    planned = []
    chosen: set[str] = set()
    other_code = 0
    for trial in wanted:
        record = records[trial.identity]
        if trial.identity in pruned and record.outcome is None:
            item = PlannedTrial(trial, record, "known", "pruned", 0, "ended by the scheduler")
        else:
            item = _decide(trial, record, covers, code_digest, selection, must_run)
        job = queued.get(trial.identity)
        skipped = trial.identity in cancelled and not selection.retry  # by its task too
        if job is not None and not skipped and item.action in ("run", "running", "failed"):
            item = _left_to(job, item)
        outcome = item.record.outcome
        if item.action == "known" and outcome is not None:
            other_code += outcome.provenance.code_digest != code_digest
        if item.action == "run":
            if trial.identity in cancelled and not selection.retry and is_in(trial, selection):
                state: State = item.state if outcome is not None else "cancelled"
                item = replace(item, action="left", state=state, why=CANCELLED_WHY)
            else:
                item = _select(item, selection, chosen)
        planned.append(item)
    return Plan(
        trials=tuple(planned),
        other_code=other_code,
        arms=tuple(arms),
        proposals_left=proposals_left,
        notes=(*_shared(wanted), *_in_queue(planned)),
    )


def _decide(
    trial: Trial,
    record: TrialRecord,
    covers: Any,
    digest: str,
    selection: Selection,
    must_run: Callable[[Trial, TrialRecord], str],
) -> PlannedTrial:
    outcome = record.outcome

    def planned(
        action: Action, why: str = "", state: State | None = None, afresh: bool = False
    ) -> PlannedTrial:
        number = record.next_number if action == "run" else 0
        return PlannedTrial(trial, record, action, state or record.state, number, why, afresh)

    if record.state == "running":
        return planned("running", "another process works on it")
    if outcome is not None:
        again = selection.again
        asked = again if isinstance(again, bool) else any(_means(name, trial) for name in again)
        if asked:
            return planned("run", "again", afresh=True)
        if selection.same_code and outcome.provenance.code_digest != digest:
            return planned("run", "known under other code", "planned", afresh=True)
        training = observed_config(trial.config, while_training=True)
        if not covers(outcome.observed, training):
            lacking = _lacking(covers, outcome.observed, training)
            why = f"known without {_settings(lacking)}: trains again"
            return planned("run", why, "planned", afresh=True)
        if not covers(outcome.observed, trial.observed):
            return planned("run", _missing_observation(record, trial), "planned")
        if why := must_run(trial, record):
            return planned("run", why, "planned", afresh=True)
        return planned("known")
    if record.state == "failed" and not selection.retry:
        return planned("failed", record.failure.cause if record.failure else "")
    return planned("run", "resumes" if record.has_checkpoint else "")


def is_in(trial: Trial, selection: Selection) -> bool:
    """Whether `--only` lets it in."""
    return not selection.only or any(_means(name, trial) for name in selection.only)


def _left_to(job: str, item: PlannedTrial) -> PlannedTrial:
    """A trial that SLURM's queue has: nobody else is to run it."""
    running = item.record.state == "running"
    why = f"runs in SLURM as {job}" if running else f"waits in SLURM's queue as {job}"
    return replace(item, action="running", why=why, job=job)


def _means(name: str, trial: Trial) -> bool:
    """Whether `name` is the trial's arm, or the start of its id."""
    return name == trial.arm or (len(name) >= SHORTEST_ID and trial.identity.startswith(name))


def _lacking(covers: Any, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is asked for and was not observed, the settings that say so: each by itself, or,
    where none does, those that do together (a window means nothing without what looks at it)."""
    alone = {name: asked[name] for name in asked if not covers(observed, {name: asked[name]})}
    if alone:
        return alone
    together = dict(asked)
    for name in asked:
        fewer = {other: value for other, value in together.items() if other != name}
        if not covers(observed, fewer):
            together = fewer
    return together


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _missing_observation(record: TrialRecord, trial: Trial) -> str:
    observed = record.outcome.observed if record.outcome else {}
    short = [
        f"{key}={observed.get(key, 'n/a')} (asked for {value})"
        for key, value in trial.observed.items()
        if observed.get(key) != value
    ]
    start = "starts from its checkpoint" if record.has_checkpoint else "checkpoint gone: run again"
    return f"known with {', '.join(short)}; {start}"


def _select(item: PlannedTrial, selection: Selection, chosen: set[str]) -> PlannedTrial:
    identity = item.trial.identity
    left_out = not is_in(item.trial, selection)
    over = selection.limit is not None and identity not in chosen and len(chosen) >= selection.limit
    if left_out or over:
        return PlannedTrial(
            item.trial, item.record, "left", item.state, item.outcome_number, item.why
        )
    chosen.add(identity)
    return item


def _shared(trials: Collection[Trial]) -> list[str]:
    """Arms that come out as the same configuration: said, because it surprises."""
    first: dict[str, str] = {}
    pairs: dict[tuple[str, str], None] = {}
    for trial in trials:
        owner = first.setdefault(trial.identity, trial.arm)
        if owner != trial.arm:
            pairs[(owner, trial.arm)] = None
    return [f"arm '{b}' is the same configuration as '{a}': they share trials" for a, b in pairs]


def _in_queue(planned: Iterable[PlannedTrial]) -> list[str]:
    """How many trials SLURM's queue has: said, because this run does not run them."""
    count = len({item.trial.identity for item in planned if item.job is not None})
    if not count:
        return []
    have = "1 trial waits or runs" if count == 1 else f"{count} trials wait or run"
    return [f"{have} in SLURM's queue (orrery status; orrery cancel takes them out)"]
