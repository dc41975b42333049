"""One trial from its inputs to its result: a policy is made, and decides one episode."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from telemetry.contracts import FactoredAction
from workloads.contract import Result, Scores, TrialContext
from workloads.errors import DivergedError
from workloads.morphogenesis import telemetry
from workloads.morphogenesis.checkpoints import holds_episode, read_episode, write_episode
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.episode import Episode, EpochReport
from workloads.morphogenesis.measuring import mean
from workloads.morphogenesis.policies.heuristic import Heuristic
from workloads.morphogenesis.policies.making import make_policy, updates_before
from workloads.morphogenesis.policies.rewards import reward
from workloads.morphogenesis.view import Decision
from workloads.training import checkpointing
from workloads.training.acceleration import accelerated
from workloads.training.monitoring import Monitoring, monitored
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workloads.morphogenesis.data import Split
    from workloads.switching import CoalitionScores

SHADOW = "shadow"
"""The folder in a checkpoint in which the shadow heuristic keeps its memory."""
DECIDED = "decided"
"""The trial's own word in a checkpoint that was made within an epoch."""


def run_trial(config: MorphogenesisConfig, context: TrialContext) -> Result:
    """Trains the policy where it is a learned one, then the host under it; scores val and test.

    Raises `DivergedError` when the network ends with nothing finite to score.
    """
    with deterministic_process(config.threads), accelerated(config.precision) as accelerator:
        trial = _Trial(config, context, accelerator)
        host = trial.episode.host
        head = host.get_submodule(f"parts.{len(host.parts) - 1}.linear")
        try:
            with monitored(config, context, host, layer=head, capture="input") as trial.monitoring:
                return trial.run()
        finally:
            trial.episode.close()


@dataclass(frozen=True)
class _Decided:
    """What is done in an epoch, and what the shadow heuristic would have done."""

    decision: Decision
    shadow: FactoredAction


class _Trial:
    """The state that the steps of one trial share."""

    def __init__(
        self, config: MorphogenesisConfig, context: TrialContext, accelerator: Accelerator
    ) -> None:
        self.config, self.context, self.accelerator = config, context, accelerator
        self.policy = make_policy(config, context.seed, self._training_episode, context)
        self.heuristic = Heuristic()
        self.episode = Episode(config, context, accelerator, context.seed)
        self.first_step = _steps_before(config)
        self.monitoring = Monitoring()
        self.decided: _Decided | None = None
        """Of the epoch that is being trained."""
        self.progress: dict[str, Any] = {
            "return": 0.0, "planted": 0, "culled": 0, "decisions": 0, "agreed": 0,
        }  # fmt: skip

    def run(self) -> Result:
        started = time.perf_counter()
        self._describe()
        self._resume()
        while not self.episode.done:
            self._epoch()
        return self._result(time.perf_counter() - started)

    def _training_episode(self, prefix: str) -> Episode:
        """An episode of the policy's training: no telemetry, random streams of its own."""
        return Episode(self.config, None, self.accelerator, self.context.seed, prefix)

    def _describe(self) -> None:
        facts = telemetry.facts_of(self.episode)
        self.context.emitter.context({**facts, "device": str(self.accelerator.device)})
        self.context.emitter.snapshot(telemetry.baseline_of(self.episode))

    def _resume(self) -> None:
        checkpoint = self.context.checkpoints.latest()
        if checkpoint is None or not holds_episode(checkpoint.path):
            return
        self.progress = read_episode(checkpoint.path, self.episode)
        if (decided := self.progress.pop(DECIDED, None)) is not None:
            self.decided = msgspec.convert(decided, _Decided)
        self.heuristic.load(checkpoint.path / SHADOW)
        self.monitoring.load(checkpoint.path)

    def _epoch(self) -> None:
        decision, shadow = self._decide()
        report = self.episode.step(decision, self._between, self._watch)
        self.decided = None
        earned = reward(
            report.before,
            decision,
            report.after,
            success=report.applied,
            rolled_back=report.rolled_back,
        )
        self._count(report, earned.total_reward or 0.0, shadow)
        step = self.first_step + report.step
        telemetry.tell_epoch(
            self.context.emitter, self.episode, report, earned, step=step, heuristic=shadow
        )
        self._save(step)
        self.context.report(step, telemetry.reported(report, earned))

    def _count(self, report: EpochReport, earned: float, shadow: FactoredAction) -> None:
        slots = self.episode.host.slots.values()
        self.progress["return"] += earned
        self.progress["planted"] = sum(slot.life.planted for slot in slots)
        self.progress["culled"] = sum(slot.life.culls for slot in slots)
        self.progress["decisions"] += 1
        self.progress["agreed"] += report.decision.action == shadow

    def _decide(self) -> tuple[Decision, FactoredAction]:
        """The policy's decision and the shadow's action; those of before, within an epoch."""
        if self.decided is None:
            view = self.episode.view()
            shadow = self.heuristic.decide(view).action
            self.decided = _Decided(self.policy.decide(view), shadow)
        return self.decided.decision, self.decided.shadow

    def _watch(self, steps: int, last: bool) -> None:
        """Monitors the features before the head; their rows are by epoch, as the others are."""
        self.monitoring.step(
            self.first_step + steps, emit=last, epoch=float(self.episode.epoch + 1)
        )

    def _between(self, steps: int) -> None:
        """Within an epoch: a checkpoint where one is due, or the trial is about to be stopped."""
        step, every = self.first_step + steps, self.config.checkpoint_steps
        wanted = checkpointing.wanted(self.accelerator, self.context.checkpoints, step)
        if wanted or (every and steps % every == 0):
            self._save(step)

    def _save(self, step: int) -> None:
        """A checkpoint after `step` steps; rank 0 writes, for ranks hold the same."""
        if self.accelerator.is_main_process:
            progress = self.progress
            if self.decided is not None:
                progress = {**progress, DECIDED: msgspec.to_builtins(self.decided)}
            with self.context.checkpoints.saving(step) as folder:
                write_episode(folder, self.episode, progress)
                self.policy.save(folder)
                (folder / SHADOW).mkdir()
                self.heuristic.save(folder / SHADOW)
                self.monitoring.save(folder)
        self.accelerator.wait_for_everyone()

    def _result(self, seconds: float) -> Result:
        finished, host, progress = self.episode.finish(), self.episode.host, self.progress
        if finished.test.scores is None:
            raise DivergedError(f"the test split could not be scored: {finished.test.error}")
        slots, decisions = host.slots.values(), progress["decisions"]
        flags = {
            name
            for name, holds in (
                ("diverged", self.episode.diverged),
                ("rolled_back", self.episode.rollbacks > 0),
            )
            if holds
        }
        metrics: dict[str, float | None] = {
            "accuracy": mean(finished.test.scores),
            "loss": mean(finished.test.losses),
            "val_accuracy": mean(finished.val.scores),
            "val_loss": mean(finished.val.losses),
            "host_params": float(host.host_params),
            "seed_params": float(host.seed_params),
            "total_params": float(host.total_params),
            "fossilized_params": float(host.fossilized_params),
            "params_ratio": host.total_params / host.host_params,
            "return": progress["return"],
            "seeds_grown": float(progress["planted"]),
            "fossilized": float(sum(slot.stage == "FOSSILIZED" for slot in slots)),
            "culled": float(progress["culled"]),
            "rollbacks": float(self.episode.rollbacks),
            "actions_agreed": 100.0 * progress["agreed"] / decisions if decisions else None,
            "train_seconds": seconds,
            **self.policy.metrics(),
        }
        data = self.episode.data
        scores = [*_scores(data.val, finished.val), *_scores(data.test, finished.test)]
        return Result(metrics, scores, frozenset(flags), self._notes())

    def _notes(self) -> list[str]:
        notes = [
            f"{name}: seed {slot.seed_id} of {slot.blueprint} was culled: {record.cull_reason}"
            for name, slot in self.episode.host.slots.items()
            if (record := slot.life.record) is not None and record.cull_reason is not None
        ]
        if self.episode.rollbacks:
            times = "once" if self.episode.rollbacks == 1 else f"{self.episode.rollbacks} times"
            notes.append(f"the governor rolled back {times}")
        if self.episode.diverged:
            notes.append(
                f"diverged in epoch {self.episode.epoch}: scored with the weights before it"
            )
        return notes


def _scores(split: Split, found: CoalitionScores) -> list[Scores]:
    """Of the split by example; nothing where it could not be scored."""
    if found.scores is None or found.losses is None:
        return []
    columns = {"accuracy": found.scores.tolist(), "loss": found.losses.tolist()}
    return [Scores(split.name, split.units, split.clusters, columns)]


def _steps_before(config: MorphogenesisConfig) -> int:
    """Steps that a learned policy's training took: it counts its episodes."""
    if config.learned is None:
        return 0
    return updates_before(config) * config.learned.episodes_per_update
