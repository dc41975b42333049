"""What a trial says of its episode: the context, and after each epoch the snapshots of tier 2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from telemetry.contracts import (
    FactoredAction,
    GateEvaluationTrace,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    RewardComponents,
    SlotSnapshot,
)
from telemetry.events import INTERVENTION
from workloads.contract import TrialEmitter
from workloads.morphogenesis.optimizing import HOST
from workloads.morphogenesis.restoring import REASON

if TYPE_CHECKING:
    from workloads.morphogenesis.episode import Episode, EpochReport


def facts_of(episode: Episode) -> dict[str, Any]:
    """Tier 1: the host, the data and the seed of every random stream of the episode.

    A seed's own stream follows from its slot and from how many grew there before; its name says so.
    """
    data, host = episode.data, episode.host
    streams = ["host", *(f"order/{epoch}" for epoch in range(episode.config.epochs))]
    return {
        "host_architecture": episode.config.host,
        "host_params": host.host_params,
        "slots": list(host.slots),
        "classes": data.classes,
        "input_shape": list(data.input_shape),
        "train_examples": len(data.train),
        "val_examples": len(data.val),
        "test_examples": len(data.test),
        "torch_seed": episode.stream("host"),
        "seeds": {name: episode.stream(name) for name in streams},
        "streams_by_step": ["seed/<slot>/<number>", "train/<epoch>/<batch>/<rank>"],
    }


def baseline_of(episode: Episode) -> HostBaseline:
    """Tier 1: the untrained host. A host that grows nothing is another trial."""
    return HostBaseline(
        initial_loss=episode.initial.loss, initial_accuracy=episode.initial.accuracy
    )


def tell_epoch(
    emitter: TrialEmitter,
    episode: Episode,
    report: EpochReport,
    reward: RewardComponents,
    *,
    step: int,
    heuristic: FactoredAction | None,
) -> None:
    """Emits an epoch's snapshots and has dense recording look at them."""
    host = _host(episode, report)
    slots = _slots(episode, report)
    policy = _policy(report, reward, heuristic)
    epoch = float(report.after.epoch)
    for snapshot in (host, *slots, policy):
        emitter.snapshot(snapshot, step=step, epoch=epoch)
    if report.measured.matrix is not None:
        emitter.snapshot(report.measured.matrix, step=step, epoch=epoch)
    rolled_back = {"governor/rollback": float(report.rolled_back)}
    emitter.metrics(rolled_back, step=step, epoch=epoch)
    if report.panic is not None:
        _tell_panic(emitter, episode, report)
    if episode.recorder is not None:
        episode.recorder.epoch(host, slots, policy, step=report.step, gate=_failed_gate(report))


def _tell_panic(emitter: TrialEmitter, episode: Episode, report: EpochReport) -> None:
    """That the governor spoke up, for `orrery trace` and the live view."""
    lost = [
        name
        for name, slot in episode.host.slots.items()
        if slot.stage == "CULLED" and (record := slot.life.record) and record.cull_reason == REASON
    ]
    done = "nothing was put back"
    if report.rolled_back:
        done = f"epoch {report.after.epoch} was undone"
        done += f", the seeds of {', '.join(lost)} were dropped" if lost else ""
    if episode.diverged:
        done += "; the trial ended there"
    reason = f"governor: {report.panic} in epoch {report.after.epoch}"
    emitter.trace(INTERVENTION, {"done": done}, step=report.step, reason=reason)


def _host(episode: Episode, report: EpochReport) -> HostSnapshot:
    """The epoch as it was, also where it was undone: then a loss that was lost is NaN."""
    trained, measured, host = report.trained, report.measured, episode.host
    return HostSnapshot(
        epoch=report.after.epoch,
        train_loss=trained.loss,
        train_accuracy=trained.accuracy,
        val_loss=math.nan if measured.loss is None else measured.loss,
        val_accuracy=measured.accuracy,
        host_params=host.host_params,
        total_seed_params=host.seed_params,
        total_params=host.total_params,
        fossilized_params=host.fossilized_params,
        host_grad_norm=trained.norms.get(HOST),
        seed_grad_norms={name: norm for name, norm in trained.norms.items() if name != HOST},
        grad_isolation_leakage=trained.leakage,
        per_class_accuracy=None if measured.per_class is None else dict(measured.per_class),
    )


def _slots(episode: Episode, report: EpochReport) -> list[SlotSnapshot]:
    before = report.before.val_accuracies[-1:] or (episode.initial.accuracy,)
    now = report.after.val_accuracies[-1:]
    gained = None if not now or before[0] is None else now[0] - before[0]
    told = []
    for view in report.after.slots:
        slot = episode.host.slots[view.name]
        gate, there = slot.last_gate, slot.seed is not None
        told.append(
            SlotSnapshot(
                slot_id=view.name,
                stage=view.stage,
                epochs_in_stage=view.epochs_in_stage,
                seed_id=slot.seed_id,
                blueprint_id=view.blueprint,
                seed_params=view.seed_params if there else None,
                alpha=view.alpha if there else None,
                counterfactual_contribution=view.contribution if there else None,
                total_improvement=view.total_improvement if there else None,
                improvement_this_epoch=gained if there else None,
                last_gate_attempted=None if gate is None else gate.gate,
                last_gate_passed=None if gate is None else gate.passed,
                last_gate_reason=None if gate is None else gate.message,
                gradient_ratio=view.gradient_ratio if there else None,
                isolation_violations=slot.isolation_violations if there else None,
            )
        )
    return told


def _policy(
    report: EpochReport, reward: RewardComponents, heuristic: FactoredAction | None
) -> PolicySnapshot:
    decision = report.decision
    return PolicySnapshot(
        observation_vector=list(decision.observation),
        action=decision.action,
        action_log_probs=dict(decision.log_probs),
        action_was_masked=decision.masked,
        value_estimate=decision.value,
        value_std=decision.value_std,
        entropy=decision.entropy,
        reward_total=reward.total_reward,
        reward_components=reward,
        heuristic_action=heuristic,
        explanation=decision.explanation or None,
    )


def _failed_gate(report: EpochReport) -> GateEvaluationTrace | None:
    """The first gate that did not let its seed pass in this epoch."""
    failed = (
        gate.trace(slot)
        for slot, gates in report.gates.items()
        for gate in gates
        if not gate.passed
    )
    return next(failed, None)


def reported(report: EpochReport, reward: RewardComponents) -> Mapping[str, float | None]:
    """What the scheduler hears of an epoch."""
    losses, accuracies = report.after.val_losses, report.after.val_accuracies
    return {
        "train/loss": report.trained.loss,
        "eval/loss": losses[-1] if losses else None,
        "eval/accuracy": accuracies[-1] if accuracies else None,
        "reward/total": reward.total_reward,
    }
