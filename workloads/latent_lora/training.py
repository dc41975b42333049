"""The training loop: batches in a seeded order, one optimizer step each, a report per epoch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from workloads.contract import TrialContext
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.diagnostics import Diagnostics
from workloads.latent_lora.prompts import Split
from workloads.latent_lora.reader import Reader, StepLosses
from workloads.training import checkpointing, generator, is_finite

if TYPE_CHECKING:
    from accelerate import Accelerator

RECORD_STEPS = 10
"""Diagnostics and metrics are written every so many steps."""


@dataclass(frozen=True)
class Trained:
    """How training ended: after which step, the last epoch's means, and whether numbers were lost.

    A diverged model keeps the weights from before the step whose loss or gradient was not finite.
    """

    step: int
    means: Mapping[str, float]
    diverged: bool


@dataclass
class Progress:
    """Where training is: `step` optimizer steps done, `batch` of them in epoch `epoch`.

    `sums` and `count` are the running epoch's; `means` those of the last whole epoch.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    count: int = 0
    means: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """Counts one more step with these values."""
        self.step, self.batch, self.count = self.step + 1, self.batch + 1, self.count + 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def end_epoch(self) -> None:
        """Turns the running sums into means and starts the next epoch."""
        self.means = {name: total / self.count for name, total in self.sums.items()}
        self.epoch, self.batch, self.count, self.sums = self.epoch + 1, 0, 0, {}

    def to_json(self) -> dict[str, Any]:
        """All but the step, which names the checkpoint."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "sums": dict(self.sums),
            "count": self.count,
            "means": self.means,
        }


class Trainer:
    """Trains a reader on a split for one trial.

    `after_epoch(step, epoch, means)` evaluates and emits; it gives what is reported to the
    scheduler. `glance(step)` is the quick look between epochs.
    """

    def __init__(
        self,
        reader: Reader,
        train: Split,
        context: TrialContext,
        accelerator: Accelerator,
        diagnostics: Diagnostics,
    ) -> None:
        self.config: LatentLoraConfig = reader.config
        self.context, self.accelerator, self.diagnostics = context, accelerator, diagnostics
        self.train_split = train
        self.reader = reader
        self.steps_per_epoch = math.ceil(len(train) / self.config.batch_size)
        self.steps = self.steps_per_epoch * self.config.epochs
        optimizer = torch.optim.AdamW(_groups(reader), fused=True)
        self.model, self.optimizer = accelerator.prepare(reader, optimizer)

    def run(
        self,
        after_epoch: Callable[[int, int, Mapping[str, float]], Mapping[str, float | None]],
        glance: Callable[[int], None],
    ) -> Trained:
        """Trains from the newest checkpoint, or from the start, to the last step."""
        saved = checkpointing.restore(self.accelerator, self.context.checkpoints)
        progress = Progress(**saved) if saved else Progress()
        if saved:
            self.diagnostics.log(f"continues after step {progress.step} of {self.steps}")
        while progress.epoch < self.config.epochs:
            for indices in self._batches(progress):
                values = self._step(indices, progress.step)
                if values is None:
                    self.diagnostics.log(f"diverged at step {progress.step + 1}")
                    self.diagnostics.record("diverged", step=progress.step + 1)
                    return Trained(progress.step, self._means(progress), diverged=True)
                progress.add(values)
                self._record(progress, values, len(indices))
                self._between(progress, glance)
            progress.end_epoch()
            reported = after_epoch(progress.step, progress.epoch, progress.means)
            self._save(progress)
            self.context.report(progress.step, reported)
        return Trained(progress.step, progress.means, diverged=False)

    def _batches(self, progress: Progress) -> Iterator[list[int]]:
        """What is left of the epoch's batches, in the order of the stream `order/<epoch>`."""
        stream = generator(self.context.seed, f"order/{progress.epoch}")
        order = torch.randperm(len(self.train_split), generator=stream).tolist()
        size = self.config.batch_size
        for batch in range(progress.batch, self.steps_per_epoch):
            yield order[batch * size : (batch + 1) * size]

    def _step(self, indices: list[int], step: int) -> dict[str, float] | None:
        """One optimizer step; its values, or None (and unchanged weights) if one isn't finite."""
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        mine = indices[rank::ranks] or indices[:1]
        batch = self.train_split.batch(
            mine, self.config.answer_tokens, device=self.accelerator.device
        )
        limit = self.config.answer_loss_prompts
        answer_prompts = None if limit is None else math.ceil(limit / ranks)
        losses: StepLosses = self.model(batch, step, rank, answer_prompts)
        self.accelerator.backward(losses.total)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        values = self._values(losses) | {"grad_norm": float(norm)}
        # The gradients, and so their norm, are the same on every rank: all ranks stop together.
        if not is_finite(values if ranks == 1 else {"grad_norm": float(norm)}):
            self.optimizer.zero_grad(set_to_none=True)
            return None
        share = 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return values | {"lr": self.config.learning_rate * share}

    def _values(self, losses: StepLosses) -> dict[str, float]:
        parts = losses.parts
        named = {
            "loss": losses.total,
            "recon_cosine": parts.cosine,
            "recon_mse": parts.mse,
            "recon_rel_error": parts.relative_error,
            "norm_ratio": parts.norm_ratio,
            "first_token_ce": losses.first_token_ce,
            "k_token_ce": losses.k_token_ce,
            "kd": losses.distillation,
        }
        return {name: float(value.detach()) for name, value in named.items() if value is not None}

    def _record(self, progress: Progress, values: Mapping[str, float], batch: int) -> None:
        if progress.step % RECORD_STEPS and progress.step != self.steps:
            return
        epoch = progress.step / self.steps_per_epoch
        emitted = {f"train/{name}": value for name, value in values.items()}
        self.context.emitter.metrics(emitted, step=progress.step, epoch=epoch)
        renamed = {**values, "recon_cosine_sim": values["recon_cosine"]}
        self.diagnostics.record(
            "train_step",
            step=progress.step,
            epoch=progress.epoch,
            batch_size=batch,
            compression_ratio=len(self.reader.pca.mean) / self.reader.pca.d_z,
            gpu_memory_bytes=_gpu_memory(self.accelerator.device),
            **renamed,
        )
        self.diagnostics.log(
            f"step {progress.step}/{self.steps} loss {values['loss']:.4f} "
            f"cosine {values['recon_cosine']:.4f} grad norm {values['grad_norm']:.3g}"
        )

    def _between(self, progress: Progress, glance: Callable[[int], None]) -> None:
        """Within an epoch: the quick look and the extra checkpoint, where they are due."""
        if progress.batch == self.steps_per_epoch:
            return
        looks, saves = self.config.quick_eval_steps, self.config.checkpoint_steps
        if looks and progress.step % looks == 0:
            glance(progress.step)
        if saves and progress.step % saves == 0:
            self._save(progress)

    def _save(self, progress: Progress) -> None:
        checkpointing.save(
            self.accelerator, self.context.checkpoints, progress.step, progress.to_json()
        )

    @staticmethod
    def _means(progress: Progress) -> dict[str, float]:
        if not progress.count:
            return progress.means
        return {name: total / progress.count for name, total in progress.sums.items()}


def _groups(reader: Reader) -> list[dict[str, Any]]:
    """Parameter groups; `peak` is the rate that the cosine schedule starts from."""
    config = reader.config
    groups = [(list(reader.adapter.parameters()), config.learning_rate)]
    if len(reader.lora):
        groups.append((list(reader.lora.values()), config.lora_learning_rate))
    return [{"params": params, "lr": rate, "peak": rate} for params, rate in groups]


def _gpu_memory(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
