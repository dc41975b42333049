"""One look at a study: plain, frozen data that every way of showing it starts from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.jobs_shown import JobShown
from orchestrator.watching.arms import ArmSoFar
from telemetry.analytics import SeedContributionSummary

StudyState = Literal[
    "planned", "running", "measuring points", "finishing", "stopped", "done", "failed"
]
"""`measuring points`, then `finishing`: every trial has ended; the driver writes report and MLflow.
`stopped`: trials are missing and nobody drives the study. `failed`: all have ended, some without a
result."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that a process works on. Values are of rank 0; None is "not measured"."""

    identity: str
    arm: str
    seed: int
    attempt: int
    step: int | None
    epoch: float | None
    running_s: float | None
    loss_name: str | None
    loss: float | None
    loss_curve: tuple[float, ...]
    """The loss from the start of the trial to now, thinned."""
    eval_name: str | None
    eval: float | None
    ranks: int
    slowest_rank: int | None
    """The rank that is furthest behind; None for a single one, or where all are level."""
    slowest_behind_steps: int | None
    slowest_late_s: float | None
    cpu_percent: float | None
    """Of the trial's own processes, summed over what its ranks say."""
    rss_mib: float | None


@dataclass(frozen=True)
class Growth:
    """The research figures of one trial that tells of slots or of a policy."""

    identity: str
    arm: str
    seed: int
    running: bool
    slots: int
    """That it has told of; 0 for a host that grows nothing."""
    epoch: float | None
    max_epochs: int | None
    accuracy: float | None
    accuracy_delta: float | None
    baseline_source: str | None
    """Where the baseline's accuracies come from; None without a baseline."""
    params_ratio: float | None
    efficiency_ratio: float | None
    contributions: tuple[SeedContributionSummary, ...]
    measured_on: str | None
    """Where the matrix that they are of is not of everything; else None."""
    value_std: float | None
    value_collapse: bool | None
    entropy: float | None
    entropy_collapse: bool | None
    recent_actions: tuple[str, ...]
    agreement_rate: float | None
    """With the shadow heuristic."""


@dataclass(frozen=True)
class PointsSoFar:
    """Of the points that a study asks of its finished models, those that files tell of."""

    asked: int
    measured: int
    failed: int

    @property
    def settled(self) -> int:
        return self.measured + self.failed

    @property
    def text(self) -> str:
        """`[120/4096] points, 2 failed`."""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"[{self.measured}/{self.asked}] points{failed}"


@dataclass(frozen=True)
class Notice:
    """An alert of the study: about a trial if `identity` names one, about those of an arm that have
    ended if `arm` does."""

    level: Literal["info", "warning", "critical"]
    kind: str
    text: str
    identity: str | None = None
    arm: str | None = None


@dataclass(frozen=True)
class Change:
    """What has happened to a trial since the last look."""

    identity: str
    arm: str
    seed: int
    state: str
    """The state it is in now."""
    attempt: int
    value: float | None = None
    """The verdict's metric of a trial that is done."""
    seconds: float | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Frame:
    """A study at one moment."""

    study: str
    question: str
    state: StudyState
    driver: str | None
    """The process that drives it, in words; None if nobody does."""
    elapsed_s: float | None
    """Since that driver took its seat."""
    left_s: float | None
    """An estimate from the trials that are done; None before the first."""
    counts: Mapping[str, int]
    """Trials by state."""
    planned: int
    """All trials of the study, those that a search is still to propose among them."""
    metric: str | None
    unit: str
    direction: str
    """Of the metric: `higher` or `lower` is better."""
    places: int
    """Decimals that suit the metric."""
    comparator: str | None
    arms: tuple[ArmSoFar, ...]
    running: tuple[RunningTrial, ...]
    growth: Growth | None
    notices: tuple[Notice, ...]
    changes: tuple[Change, ...]
    answer: str | None
    """The verdict in one line, once the study is over; of one without a rule its answer."""
    resume: str
    """The command that goes on with the study."""
    jobs: tuple[JobShown, ...] = ()
    """Jobs of a cluster that nobody has seen end."""
    points: PointsSoFar | None = None
    """None for a study that asks for none."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself: every trial ended, the driver has left."""
        return self.state in ("done", "failed")

    def to_json(self) -> dict[str, Any]:
        """Plain data; "not measured" is null, a number that JSON lacks its name."""
        data = dataclasses.asdict(self)
        del data["places"]
        data["not_a_verdict"] = not self.over or self.answer is None
        found: dict[str, Any] = _plain(data)
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
