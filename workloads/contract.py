"""What a workload is: a typed configuration, and a `run` that trains or measures one trial.

A workload never knows where it runs nor which study asked. It is handed a resolved configuration
and a `TrialContext`, and gives back a `Result`. Everything here is importable without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    get_args,
)

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workloads.monitors import DESCRIPTIONS, FLAGS, PREFIX, SETTINGS, watched_enough

if TYPE_CHECKING:
    from telemetry.contracts import Contract
    from workloads.evaluation import Packed, Point, Subject
    from workloads.views import StudyView, SummaryTable

Reducer = Literal["mean", "sum", "min", "max", "last"]
TelemetryMode = Literal["standard", "adaptive", "research"]
"""From the sparsest to the densest: each records what those before it do."""
Monitor = Literal[
    "svd_ratio",
    "rank",
    "effective_rank",
    "implied_cosine",
    "layer_delta",
    "activation_energy",
    "entropy",
    "margin",
]
"""What can be watched in a model while it works (`telemetry.probes`)."""


@dataclass(frozen=True)
class Input:
    """Marks a field that names data or a model: its fingerprint enters the identity."""

    kind: Literal["model", "data"]


@dataclass(frozen=True)
class Observed:
    """Marks a field that only observes (evaluation size, monitors): it is not in the identity.

    `while_training`: what is observed then can't be had from a finished checkpoint.
    """

    while_training: bool = False


@dataclass(frozen=True)
class IdentityDefault:
    """Marks a field that is left out of the identity while it holds `value`.

    A field that is added to a workload later carries one, so that it renames nothing.
    """

    value: Any


def refuse_truth_for_number(model: type[BaseModel], data: Any) -> Any:
    """For fields that take numbers but no truth values, `true` is a slip and not 1.

    To be called on a model's raw data, which it gives back. Raises ValueError.
    """
    for name, value in data.items() if isinstance(data, Mapping) else ():
        field = model.model_fields.get(name)
        given = value if isinstance(value, list | tuple) else [value]
        if field is not None and any(isinstance(item, bool) for item in given):
            kinds = _plain_types(field.annotation)
            if kinds & {int, float} and bool not in kinds:
                raise ValueError(f"'{name}' is {str(value).lower()}, but should be a number")
    return data


def _plain_types(annotation: Any) -> set[Any]:
    arguments = get_args(annotation)
    if not arguments:
        return {annotation}
    return set().union(*(_plain_types(argument) for argument in arguments))


class WorkloadConfig(BaseModel):
    """Base of every workload's configuration: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _number_is_no_truth_value(cls, data: Any) -> Any:
        return refuse_truth_for_number(cls, data)

    threads: int = 1
    """CPU threads per rank: they change the order of sums, hence the numbers."""
    telemetry: Annotated[TelemetryMode, Observed(while_training=True)] = "standard"
    """How densely training is recorded: `standard` (a dense trace when something sets it off),
    `adaptive` (every batch while it lasts), `research` (every batch)."""
    monitors: Annotated[tuple[Monitor, ...], Observed(while_training=True)] = ()
    """What is watched in the model's hidden states: rows `health/…` beside the loss."""
    monitor_window: Annotated[int, Observed(while_training=True)] = Field(10, ge=2, le=1024)
    """How many steps the window of `svd_ratio`, the ranks and `implied_cosine` holds."""
    monitor_layer: Annotated[str | None, Observed(while_training=True)] = None
    """The module that is watched; None: the last block, found by the kind of model."""


@dataclass(frozen=True)
class Metric:
    """A metric a workload reports. `unit` is shown beside it; ranks are reduced by `reducer`.

    Not `reproducible`: it measures time or the machine, so that a replay does not compare it.
    `limits`: what it cannot be below and above, None for no limit; ends of its intervals are shown
    within them.
    """

    description: str
    unit: str = ""
    reducer: Reducer = "mean"
    higher_is_better: bool | None = None
    reproducible: bool = True
    limits: tuple[float | None, float | None] = (None, None)


HEALTH_METRICS: Mapping[str, Metric] = {
    **{PREFIX + name: Metric(text, unit) for name, (text, unit) in DESCRIPTIONS.items()},
    **{PREFIX + name: Metric(text, reducer="max") for name, text in FLAGS.items()},
}
"""What monitors report, of every workload."""


@dataclass(frozen=True)
class Scores:
    """Per-unit scores of one split: what a verdict needs beyond the mean.

    `units` and `clusters` are ids of length [n]; every column of `columns` has length [n], and a
    score that could not be measured is None.
    """

    split: str
    units: Sequence[str]
    clusters: Sequence[str]
    columns: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Result:
    """What a finished trial gives: final metrics, per-unit scores, flags such as `collapsed`."""

    metrics: Mapping[str, float | None]
    scores: Sequence[Scores] = ()
    flags: frozenset[str] = frozenset()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: a folder, and the training step after which it was taken."""

    path: Path
    step: int


class Checkpoints(Protocol):
    """The trial's checkpoints, kept by the orchestrator across attempts."""

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint of any attempt, or None."""

    def saving(self, step: int) -> AbstractContextManager[Path]:
        """A temporary folder to write into; it becomes the latest checkpoint when the block ends.

        Raises inside the block leave no checkpoint. A rank other than 0 must not call this. Once
        the checkpoint is complete it raises `TrialStopped` if one is `wanted`.
        """

    def wanted(self) -> bool:
        """Whether to save now: the trial is about to be stopped, or was cancelled.

        Costs next to nothing, so that it may be asked at every step. Ranks may hear it at different
        steps: rank 0's word counts (`workloads.training.checkpointing.wanted`).
        """


class TrialEmitter(Protocol):
    """The part of `telemetry.Emitter` that workloads use. Calls never raise and never block."""

    def metrics(
        self, values: Mapping[str, float | None], *, step: int, epoch: float | None = None
    ) -> None:
        """Tier 2: values at a training step; None is "not measured" and is kept apart from 0."""

    def snapshot(
        self, contract: Contract, *, step: int | None = None, epoch: float | None = None
    ) -> None:
        """A typed contract (`telemetry.contracts`); what tier 2 measured becomes rows at `step`.

        One of tier 2 needs a step: without, it is left out and counted.
        """

    def trace(self, name: str, data: Mapping[str, Any], *, step: int, reason: str = "") -> None:
        """Tier 3: a dense record; may be thinned under pressure."""

    def context(self, facts: Mapping[str, Any]) -> None:
        """Tier 1: facts learned in the worker (parameter counts, architecture) once per trial."""


class Reporter(Protocol):
    """Hands intermediate metrics to whoever schedules the trial."""

    def __call__(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Raises `TrialStopped` when the scheduler ends the trial (pruned, cancelled)."""


class TrialStopped(BaseException):
    """The trial was told to stop. Not an error: workloads let it pass through."""


@dataclass(frozen=True)
class TrialContext:
    """What a running trial may touch.

    `artifacts` is a folder whose content is kept with the outcome. `attempt` counts from 0.
    """

    identity: str
    label: str
    seed: int
    attempt: int
    artifacts: Path
    emitter: TrialEmitter
    checkpoints: Checkpoints
    report: Reporter
    rank: int = 0
    ranks: int = 1


C = TypeVar("C", bound=WorkloadConfig)


class Workload(ABC, Generic[C]):
    """Base of a workload, found through the entry-point group `orrery.workloads`.

    `version` is raised when a change alters the numbers of an unchanged configuration. `reusable`
    declares that a trial leaves nothing behind in its process; `WorkloadContract` proves it.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reusable: ClassVar[bool] = False
    Config: ClassVar[type[WorkloadConfig]]
    metrics: ClassVar[Mapping[str, Metric]]
    """What it reports itself; `HEALTH_METRICS` are added to them."""
    point_metrics: ClassVar[Mapping[str, Metric]] = {}
    """What is measured at each point of a finished model; the first is scored by example. Empty:
    not declared, and then a design cannot be refused for asking another."""
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Columns of every trial's scores, by split. Empty: not declared, and then a study cannot be
    refused for asking another."""
    score_limits: ClassVar[Mapping[str, tuple[float | None, float | None]]] = {}
    """What a column of the scores cannot be below and above, as `Metric.limits`; a column that is
    not named has the limits of the metric of its name."""
    sources: ClassVar[Sequence[str]] = ()
    """Import names of the packages or modules whose source text makes up the code digest; its own
    module if none is named."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "metrics" in cls.__dict__:
            cls.metrics = {**cls.metrics, **HEALTH_METRICS, **cls.metrics}

    def resolve(self, config: C) -> C:
        """Replaces what depends on the inputs by its value (a depth fraction by a layer count).

        Cheap and free of torch: `plan` calls it for every arm. Raises `InputError`.
        """
        return config

    def fingerprint(self, kind: str, value: str, config: C, cache: Path | None = None) -> str:
        """The content fingerprint of an `Input` field. Raises `InputError` if it can't be read.

        `cache`: a file that may keep hashes of files between calls.
        """
        raise NotImplementedError(f"{type(self).__name__} has Input fields but no fingerprint()")

    def pin(self, kind: str, value: str) -> str:
        """An `Input` that is no local path, named so that it means the same tomorrow: a hub name
        with its commit. Raises `InputError` if that cannot be found out."""
        return value

    def check(self, config: C) -> None:
        """Refuses a resolved configuration that cannot give a meaningful trial (`InputError`).

        Called before Ray starts, and only for trials that are not known yet.
        """

    def factors(self, config: C) -> Mapping[str, str | int | float]:
        """What a reader wants to see of a configuration: label, tags and table columns."""
        return {}

    def scored_units(self, config: C) -> int | None:
        """How many questions or examples a trial will score: `plan` tells what they resolve."""
        return None

    def deterministic(self, config: C) -> bool:
        """Whether the seed changes nothing: then an arm is one trial, whatever the seeds."""
        return False

    def real_setting(self, config: C) -> bool:
        """Whether this is the setting whose result is being replicated (see `Rule.real_gate`)."""
        return False

    def switches(self, config: C) -> Sequence[str]:
        """What can be switched off in the model of a finished trial, in its order along the
        network; empty: nothing. Cheap and free of torch: `plan` counts points by it."""
        return ()

    def measured_on(self, config: C) -> Mapping[str, Any]:
        """What, beside the point itself, its result depends on, as plain JSON: which split, how
        many examples, the batch size. It enters the hash of a point."""
        return {}

    def point(self, config: C, point: Point) -> Point:
        """A point in full: with its defaults, and without what changes nothing in it, so that two
        that are the same are asked once. Cheap and free of torch. Raises `InputError` for one that
        the model of this configuration cannot be asked."""
        return point

    def pack_subject(self, config: C, checkpoint: Path | None) -> Packed:
        """What workers need to open the model of a finished trial: read once, sent to all.

        `checkpoint` is the trial's last one; None if it never made any. Raises `InputError`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no subjects to measure")

    def open_subject(self, config: C, packed: Packed) -> Subject:
        """The subject in a worker, from what `pack_subject` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no subjects to measure")

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """Whether what an outcome observed holds all that is asked for.

        A number covers any smaller one, a list any of its subsets, a denser telemetry mode any
        sparser one, anything else its equal. Monitors that the workload has on by default are no
        reason to run a trial again.
        """
        fields = self.Config.model_fields
        by_default = {name: fields[name].default for name in SETTINGS}
        if not watched_enough(observed, asked, by_default):
            return False
        densities = get_args(TelemetryMode)
        seen = {"telemetry": densities[0], **observed}
        return all(
            densities.index(seen[field]) >= densities.index(wanted)
            if field == "telemetry"
            else field in seen and _covers(seen[field], wanted)
            for field, wanted in asked.items()
            if field not in SETTINGS
        )

    @abstractmethod
    def run(self, config: C, context: TrialContext) -> Result:
        """Trains or measures one trial. Raises `DivergedError` if nothing can be scored."""

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        """Writes the workload's own tables and plots of a study into `folder`; yields them, and
        tables that the report shows."""
        return iter(())


def _covers(observed: Any, asked: Any) -> bool:
    if isinstance(asked, bool) or isinstance(observed, bool):
        return bool(observed == asked)
    if isinstance(asked, int | float) and isinstance(observed, int | float):
        return observed >= asked
    if isinstance(asked, list | tuple) and isinstance(observed, list | tuple):
        return all(item in observed for item in asked)
    return bool(observed == asked)
