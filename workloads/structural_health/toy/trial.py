"""One run of the toy model, from its first step to its result."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from telemetry.contracts import HostSnapshot
from telemetry.dense import DenseRecorder
from telemetry.probes.suite import MonitorSuite
from workloads.contract import Result, TrialContext
from workloads.errors import InputError
from workloads.structural_health.config import MEASURED, StructuralHealthConfig
from workloads.structural_health.toy.keeping import Kept
from workloads.structural_health.toy.series import Series
from workloads.structural_health.toy.training import ToyTraining
from workloads.training import checkpointing
from workloads.training.acceleration import accelerated
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from accelerate import Accelerator

RECORD_STEPS = 5
"""Every so many steps a row goes to telemetry; the scores hold every step."""
REPORT_STEPS = 20


def run_trial(config: StructuralHealthConfig, context: TrialContext) -> Result:
    """Trains to the last step and gives the series; no loss ends it early.

    Raises `InputError` when it is asked to run on several ranks.
    """
    if context.ranks > 1:
        raise InputError(
            f"structural_health trains in one process, not {context.ranks}; ask for one rank"
        )
    with deterministic_process(config.threads), accelerated("fp32") as accelerator:
        return _Trial(config, context, accelerator).run()


class _Trial:
    """The state that the steps of one run share."""

    def __init__(
        self, config: StructuralHealthConfig, context: TrialContext, accelerator: Accelerator
    ) -> None:
        self.config, self.context, self.accelerator = config, context, accelerator
        self.training = ToyTraining(config, context.seed, accelerator.device)
        self.series = Series(config.steps)
        self.recorder: DenseRecorder
        self._losses: dict[int, dict[str, float]] = {}
        """Rows whose hidden states are still on their way from the device."""

    def run(self) -> Result:
        started = time.perf_counter()
        parameters = sum(p.numel() for p in self.training.model.parameters())
        self.context.emitter.context(
            {"device": str(self.accelerator.device), "trainable_parameters": parameters}
        )
        model, self.training.optimizer = self.accelerator.prepare(
            self.training.model, self.training.optimizer
        )
        monitors = tuple(dict.fromkeys((*MEASURED, *self.config.monitors)))
        with (
            MonitorSuite.attach(
                model,
                monitors,
                window=self.config.monitor_window,
                threshold=self.config.collapse_threshold,
                layer=self.training.model.watched,
            ) as suite,
            DenseRecorder(
                self.context.emitter, self.config.telemetry, model=self.training.model
            ) as self.recorder,
        ):
            for step in range(self._restore(suite), self.config.steps):
                self._step(step, suite)
            suite.flush()
            self._take(suite)
        return self._result(parameters, time.perf_counter() - started)

    def _restore(self, suite: MonitorSuite) -> int:
        """Goes on from the newest checkpoint; gives the step to begin with."""
        saved = checkpointing.restore(
            self.accelerator, self.context.checkpoints, Kept(self.series, suite)
        )
        if saved is None:
            return 0
        self.recorder.restore(saved["telemetry"])
        return int(saved["step"]) + 1

    def _save(self, step: int, suite: MonitorSuite) -> None:
        suite.flush()
        self._take(suite)
        kept = Kept(self.series, suite)
        progress = {"telemetry": self.recorder.to_state()}
        checkpointing.save(self.accelerator, self.context.checkpoints, step, progress, kept)

    def _step(self, step: int, suite: MonitorSuite) -> None:
        losses = self.training.backward(step)
        suite.observe(step)
        row = {"train/loss": float(losses.task)}
        if losses.penalty is not None:
            row["train/penalty"] = float(losses.penalty)
        self._losses[step] = row
        self._record_densely(step, row["train/loss"])
        self.training.update(step)
        self._take(suite)
        if (step + 1) % REPORT_STEPS == 0:
            loss = row["train/loss"]
            self.context.report(step, {"train/loss": loss if math.isfinite(loss) else None})
        every = self.config.checkpoint_steps
        due = every and (step + 1) % every == 0 and step + 1 < self.config.steps
        if due or checkpointing.wanted(self.accelerator, self.context.checkpoints, step):
            self._save(step, suite)

    def _record_densely(self, step: int, loss: float) -> None:
        """A batch with its gradients, as `telemetry` asks for, and the end of its epoch."""
        epoch, index = divmod(step, self.training.sequences.batches_per_epoch)
        self.recorder.batch(step=step, epoch=epoch + 1, batch_idx=index, loss=loss)
        if index + 1 == self.training.sequences.batches_per_epoch:
            self.recorder.epoch(HostSnapshot(epoch=epoch + 1, train_loss=loss), step=step)

    def _take(self, suite: MonitorSuite) -> None:
        """Takes what is known by now into the series, and its rows to telemetry."""
        last = self.config.steps - 1
        for step, health in suite.drain():
            row = self._losses.pop(step)
            self.series.put(step, row["train/loss"], health)
            if step % RECORD_STEPS == 0 or step == last:
                self.context.emitter.metrics({**row, **health}, step=step)

    def _result(self, parameters: int, seconds: float) -> Result:
        config, series = self.config, self.series
        return Result(
            metrics={
                "final_loss": series.last("loss"),
                "final_svd_ratio": series.last("sv_ratio"),
                "largest_svd_ratio": series.largest("sv_ratio"),
                "onset_step": None if config.fault == "healthy" else config.onset,
                "collapse_step": series.first("sv_ratio", above=config.collapse_threshold),
                "nonfinite_step": series.first_nonfinite(),
                "trainable_parameters": float(parameters),
                "train_seconds": seconds,
            },
            scores=[series.to_scores()],
        )
