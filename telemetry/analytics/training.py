"""The analytics of one trial: stateful, fed with its events in any number of pieces."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from telemetry.analytics.health import HealthMonitor, HealthReport
from telemetry.analytics.policy import PolicyComparisonSummary, PolicyRecord
from telemetry.analytics.ranks import RankClock
from telemetry.analytics.scaling import ParamsEstimate, ScalingCurve
from telemetry.analytics.trajectory import Trajectory
from telemetry.anomalies import FORCED, RunningAverage
from telemetry.contracts import (
    CounterfactualMatrix,
    DenseTrace,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from telemetry.events import (
    INTERVENTION,
    EpisodeContext,
    Event,
    Mark,
    Metrics,
    Payload,
    Tier,
    Trace,
    values_of,
)
from telemetry.reduction import SECONDS_PREFIX

V = TypeVar("V")

KEPT_SNAPSHOTS = 500
KEPT_TRACES = 20
MOST_KEYS = 500
"""Metrics that are followed; those that appear after so many are passed over."""
LOSS = "train/loss"
ACCURACY = "eval/accuracy"
GRADIENTS = ("train/grad_norm", "grad_norm/host", "grad_norm")


@dataclass(frozen=True)
class SeedContributionSummary:
    """What one slot brings, in points of accuracy."""

    slot: str
    contribution: float | None
    method: Literal["shapley", "marginal", "removal"]
    """Where it comes from: the matrix's Shapley value, else its marginal contribution (Banzhaf),
    else, without a matrix, what removing the slot alone costs."""
    blueprint: str | None
    params: int | None
    efficiency: float | None
    """Points per 10,000 parameters; None if either is unknown or there are none."""
    stage: str | None = None
    epoch: int | None = None
    """Of the matrix."""


@dataclass(frozen=True)
class TraceSeen:
    """A dense trace that was captured: why, and where."""

    reason: str
    epoch: int | None
    step: int | None


class TrainingAnalytics:
    """Running averages, trajectories and the research figures of one trial.

    Feed it `Event`s, in the order of their attempts, or bare payloads. Memory is bounded: 500
    snapshots and decisions, 20 traces, 500 metrics. Trajectories and averages are those of rank 0;
    NaN is looked for on every rank. `curve` is what `equivalent_traditional_params` reads.
    """

    def __init__(self, *, curve: ScalingCurve | None = None) -> None:
        self.events = 0
        self.step: int | None = None
        """The newest step of rank 0."""
        self.epoch: float | None = None
        self.context = EpisodeContext()
        self.baseline: HostBaseline | None = None
        self.slots: dict[str, SlotSnapshot] = {}
        """The newest snapshot of each slot."""
        self.matrix: CounterfactualMatrix | None = None
        """The newest matrix."""
        self.traces: deque[TraceSeen] = deque(maxlen=KEPT_TRACES)
        self.ranks = RankClock()
        self.policy = PolicyRecord(KEPT_SNAPSHOTS)
        self._curve = curve
        self._health = HealthMonitor()
        self._hosts: OrderedDict[int, HostSnapshot] = OrderedDict()
        self._accuracies: OrderedDict[int, float] = OrderedDict()
        self._latest: dict[str, float] = {}
        self._averages: dict[str, RunningAverage] = {}
        self._trajectories: dict[str, Trajectory] = {}
        self._given_baseline: Mapping[int, float] = {}
        self._given_source: str | None = None

    # -- what it is fed ---------------------------------------------------------------------------

    def feed(self, item: Event | Payload, *, step: int | None = None) -> None:
        """Takes one event in, or the payload of one of rank 0 at `step`."""
        self.events += 1
        attempt, rank, epoch = max(self.ranks.attempt, 0), 0, None
        payload: Payload
        if isinstance(item, Event):
            payload, attempt, rank = item.payload, item.attempt, item.rank
            step, epoch = item.step, item.epoch
            on_a_clock = isinstance(payload, Metrics) and all(map(_of_system, payload.values))
            self.ranks.see(attempt, rank, item.time_ms, None if on_a_clock else step)
        else:
            payload = item
        if isinstance(payload, Mark):
            self.ranks.mark(attempt, rank, payload)
            self._health.mark(attempt, rank, payload)
        elif isinstance(payload, EpisodeContext):
            self.context = self.context.merged(payload)
        elif isinstance(payload, HostBaseline):
            self.baseline = payload
        elif isinstance(payload, DenseTrace | Trace):
            self._trace(payload, step)
        else:
            self._tier_2(payload, step, epoch, rank)

    def feed_all(self, items: Iterable[Event | Payload]) -> None:
        """Takes them in one after the other."""
        for item in items:
            self.feed(item)

    def compare_with(self, trajectory: Mapping[int, float], source: str) -> None:
        """The accuracies (percent) of a baseline by epoch, and whose they are.

        They take the place of the trial's own `HostBaseline`.
        """
        self._given_baseline, self._given_source = dict(trajectory), source

    # -- claim 1: accuracy ------------------------------------------------------------------------

    @property
    def current_accuracy(self) -> float | None:
        """The newest accuracy on the evaluation data, percent."""
        return next(reversed(self._accuracies.values()), None)

    @property
    def host_baseline_accuracy(self) -> float | None:
        """What the baseline has at this epoch (or had at its last one before it), else what a host
        that grew nothing ended with, percent. The accuracy before training is no baseline."""
        if self._given_baseline:
            now = next(reversed(self._accuracies), None)
            until = [epoch for epoch in self._given_baseline if now is None or epoch <= now]
            return self._given_baseline[max(until)] if until else None
        return None if self.baseline is None else self.baseline.final_host_only_accuracy

    @property
    def baseline_source(self) -> str | None:
        """Where the baseline's accuracy comes from, in words; None without one."""
        if self._given_baseline:
            return self._given_source
        if self.baseline is None or self.baseline.final_host_only_accuracy is None:
            return None
        return "the final accuracy of this trial's own host-only run"

    def accuracy_trajectory(self) -> list[tuple[int, float, float | None]]:
        """(epoch, accuracy, the baseline's accuracy at that epoch or None), percent.

        Where no epoch is told with an accuracy, its step stands for it.
        """
        return [(e, a, self._given_baseline.get(e)) for e, a in self._accuracies.items()]

    def accuracy_delta(self) -> float | None:
        """The accuracy now less the baseline's, points."""
        mine, theirs = self.current_accuracy, self.host_baseline_accuracy
        return None if mine is None or theirs is None else mine - theirs

    # -- claim 2: parameters ----------------------------------------------------------------------

    @property
    def host(self) -> HostSnapshot | None:
        """The newest snapshot of the host."""
        return next(reversed(self._hosts.values()), None)

    @property
    def host_params(self) -> int | None:
        """Parameters of the host alone."""
        host = self.host
        known = None if host is None else host.host_params
        return self.context.host_params if known is None else known

    @property
    def total_params(self) -> int | None:
        """Parameters of host and seeds together."""
        host = self.host
        if host is None or host.total_params is not None:
            return None if host is None else host.total_params
        if host.host_params is None or host.total_seed_params is None:
            return None
        return host.host_params + host.total_seed_params

    def params_ratio(self) -> float | None:
        """All parameters over the host's."""
        total, host = self.total_params, self.host_params
        return total / host if total is not None and host else None

    def params_efficiency_ratio(self) -> float | None:
        """Accuracy per million parameters over the baseline's; above 1 the growth paid.

        None where anything is missing, or the baseline has no accuracy or no parameters.
        """
        mine, theirs = self.current_accuracy, self.host_baseline_accuracy
        total, host = self.total_params, self.host_params
        if mine is None or not theirs or not total or not host:
            return None
        return (mine / (total / 1e6)) / (theirs / (host / 1e6))

    def equivalent_traditional_params(self) -> ParamsEstimate:
        """How large a traditional model would be at this accuracy: an estimate, which says from
        what; its `params` is None without a curve or outside it."""
        if self._curve is None:
            return ParamsEstimate(None, "n/a: no scaling curve of the host was given")
        accuracy = self.current_accuracy
        if accuracy is None:
            return ParamsEstimate(None, "n/a: no accuracy was measured")
        return self._curve.size_for(accuracy)

    # -- attribution ------------------------------------------------------------------------------

    def seed_contributions(self) -> dict[str, SeedContributionSummary]:
        """By slot, from the newest matrix; where it has no figures (an ablation has only cells),
        from the slots' own snapshots."""
        matrix = self.matrix
        if matrix is None or not (matrix.shapley_values or matrix.marginal_contributions):
            return {
                slot: self._contribution(slot, seen.counterfactual_contribution, "removal")
                for slot, seen in self.slots.items()
                if seen.counterfactual_contribution is not None
            }
        shapley = matrix.shapley_values
        values = matrix.marginal_contributions if shapley is None else shapley
        slots = matrix.slots or list(values)
        method: Literal["shapley", "marginal"] = "marginal" if shapley is None else "shapley"
        return {slot: self._contribution(slot, values.get(slot), method) for slot in slots}

    def policy_vs_heuristic(self) -> PolicyComparisonSummary:
        """The policy beside the shadow heuristic, over the last 500 decisions."""
        return self.policy.compared()

    def action_distribution(self) -> dict[str, float]:
        """Share of each operation among the last 500 decisions; empty without any."""
        return self.policy.actions()

    # -- health and plain metrics -----------------------------------------------------------------

    def training_health(self) -> HealthReport:
        """Aggregate indicators, with alerts."""
        return self._health.report(self.policy, self.ranks)

    def latest(self, key: str) -> float | None:
        """The newest value of a metric of rank 0; None if it was never measured."""
        return self._latest.get(key)

    def average(self, key: str) -> float | None:
        """The running average of a metric of rank 0 (weight of a new value: 0.1)."""
        known = self._averages.get(key)
        return None if known is None else known.value

    def trajectory(self, key: str) -> list[float]:
        """Values of a metric of rank 0 from its first to its newest, thinned to about 128."""
        known = self._trajectories.get(key)
        return [] if known is None else known.values()

    def measured(self) -> list[str]:
        """The metrics of rank 0 that were measured, in order of first appearance."""
        return list(self._latest)

    # -- inside -----------------------------------------------------------------------------------

    def _tier_2(self, payload: Payload, step: int | None, epoch: float | None, rank: int) -> None:
        values = values_of(payload) or {}
        self._health.values(values, step, rank)
        if rank:
            return
        if step is not None and not all(map(_of_system, values)):
            self.step = step
        if isinstance(payload, HostSnapshot):
            epoch = float(payload.epoch) if epoch is None else epoch
            _keep(self._hosts, payload.epoch, payload)
            if payload.val_accuracy is not None:
                _keep(self._accuracies, payload.epoch, payload.val_accuracy)
        elif isinstance(payload, SlotSnapshot):
            if payload.slot_id in self.slots or len(self.slots) < KEPT_SNAPSHOTS:
                self.slots[payload.slot_id] = payload
        elif isinstance(payload, PolicySnapshot):
            self.policy.decisions.append(payload)
        elif isinstance(payload, CounterfactualMatrix):
            self.matrix = payload
        elif (accuracy := values.get(ACCURACY)) is not None:
            place = step if epoch is None else int(epoch)
            if place is not None:
                _keep(self._accuracies, place, accuracy)
        if epoch is not None:
            self.epoch = epoch
        for key, value in values.items():
            if value is not None:
                self._value(key, value, step)

    def _value(self, key: str, value: float, step: int | None) -> None:
        if key not in self._latest and len(self._latest) >= MOST_KEYS:
            return
        self._latest[key] = value
        self._averages.setdefault(key, RunningAverage()).add(value)
        at = self.events if step is None else step
        self._trajectories.setdefault(key, Trajectory()).add(at, value)
        if key == LOSS:
            self._health.loss(value, step)
        elif key in GRADIENTS:
            self._health.gradient_norm(key, value, step)

    def _trace(self, trace: DenseTrace | Trace, step: int | None) -> None:
        if isinstance(trace, DenseTrace):
            reason, epoch = trace.trigger_reason, trace.window_start_epoch
            step = trace.window_start_step if step is None else step
        else:
            reason, epoch = trace.reason or trace.name, None
        if reason == FORCED:  # research mode: no news
            return
        if isinstance(trace, Trace) and trace.name == INTERVENTION:
            text = f"{reason} at step {step}: {trace.data.get('done', 'n/a')}"
            self._health.alert("warning", INTERVENTION, text, step)
            return
        self.traces.append(TraceSeen(reason, epoch, step))
        where = f"from epoch {epoch}" if epoch is not None else f"at step {step}"
        self._health.alert("info", "dense_trace", f"dense trace {where}: {reason}", step)

    def _contribution(
        self,
        slot: str,
        contribution: float | None,
        method: Literal["shapley", "marginal", "removal"],
    ) -> SeedContributionSummary:
        seen = self.slots.get(slot)
        params = None if seen is None else seen.seed_params
        efficiency = (
            contribution / (params / 10_000) if contribution is not None and params else None
        )
        return SeedContributionSummary(
            slot=slot,
            contribution=contribution,
            method=method,
            blueprint=None if seen is None else seen.blueprint_id,
            params=params,
            efficiency=efficiency,
            stage=None if seen is None else seen.stage,
            epoch=None if self.matrix is None else self.matrix.epoch,
        )


def analytics_of(
    trial_folder: Path | str,
    *,
    curve: ScalingCurve | None = None,
    tiers: Collection[Tier] = (1, 2, 3),
) -> TrainingAnalytics:
    """The analytics of a trial from its files, in memory that does not grow with them.

    Reads the Parquet file of its events, and its spools; without tier 3 it passes over dense
    traces, and knows nothing of them.
    """
    from telemetry.parquet import events_in_order

    seen = TrainingAnalytics(curve=curve)
    seen.feed_all(events_in_order(trial_folder, tiers))
    return seen


def _of_system(key: str) -> bool:
    """Whether a metric is of the machine: its steps are seconds, not training steps."""
    return key.startswith(SECONDS_PREFIX)


def _keep(kept: OrderedDict[int, V], place: int, value: V) -> None:
    """The newest last, the oldest of more than 500 gone. An attempt that goes on from a checkpoint
    takes the place of what came after it."""
    while kept and next(reversed(kept)) >= place:
        kept.popitem(last=True)
    kept[place] = value
    while len(kept) > KEPT_SNAPSHOTS:
        kept.popitem(last=False)
