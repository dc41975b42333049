"""What a finished episode told, epoch by epoch: read from the events of its trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from telemetry.analytics import HealthReport, TrainingAnalytics
from telemetry.contracts import (
    CounterfactualMatrix,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from telemetry.parquet import events_in_order
from workloads.views import TrialView


@dataclass(frozen=True)
class EpisodeHistory:
    """The snapshots of one episode, by epoch. An attempt that went on from a checkpoint takes the
    place of what came after it."""

    hosts: dict[int, HostSnapshot] = field(default_factory=dict)
    slots: dict[int, dict[str, SlotSnapshot]] = field(default_factory=dict)
    matrices: dict[int, CounterfactualMatrix] = field(default_factory=dict)
    decisions: dict[int, PolicySnapshot] = field(default_factory=dict)
    baseline: HostBaseline | None = None
    health: HealthReport | None = None
    """How sound the training was, over all ranks and attempts."""

    @property
    def last_matrix(self) -> CounterfactualMatrix | None:
        """The matrix of the last epoch that has one."""
        return self.matrices[max(self.matrices)] if self.matrices else None


def trial_folder(trial: TrialView) -> Path | None:
    """The trial's folder, in which its events are; None if it kept nothing."""
    if trial.artifacts is None:
        return None
    return next((path for path in trial.artifacts.parents if path.name == trial.identity), None)


def history_of(trial: TrialView) -> EpisodeHistory | None:
    """The episode of a finished trial; None if nothing is kept of it. Raises `OSError`."""
    folder = trial_folder(trial)
    return None if folder is None else read_history(folder)


def read_history(folder: Path) -> EpisodeHistory:
    """The episode whose events lie in a trial's folder. Raises `OSError`."""
    hosts: dict[int, HostSnapshot] = {}
    slots: dict[int, dict[str, SlotSnapshot]] = {}
    matrices: dict[int, CounterfactualMatrix] = {}
    decisions: dict[int, PolicySnapshot] = {}
    baseline = None
    seen = TrainingAnalytics()
    for event in events_in_order(folder, (1, 2)):
        payload = event.payload
        seen.feed(event)
        if event.rank:
            continue
        epoch = None if event.epoch is None else int(event.epoch)
        if isinstance(payload, HostBaseline):
            baseline = payload
        elif isinstance(payload, HostSnapshot):
            hosts[payload.epoch] = payload
        elif isinstance(payload, CounterfactualMatrix):
            matrices[payload.epoch] = payload
        elif isinstance(payload, SlotSnapshot) and epoch is not None:
            slots.setdefault(epoch, {})[payload.slot_id] = payload
        elif isinstance(payload, PolicySnapshot) and epoch is not None:
            decisions[epoch] = payload
    return EpisodeHistory(hosts, slots, matrices, decisions, baseline, seen.training_health())
