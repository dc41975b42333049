"""The training loop: batches in a seeded order, one optimizer step each, a report per epoch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from telemetry.contracts import HostSnapshot
from telemetry.dense import DenseRecorder
from workloads.contract import TrialContext
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.diagnostics import Diagnostics
from workloads.latent_lora.prompts import Split
from workloads.latent_lora.reader import Reader, StepLosses
from workloads.latent_lora.shares import share_of
from workloads.training import checkpointing, generator, is_finite
from workloads.training.monitoring import Monitoring, monitored

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

    `sums` and `count` are the running epoch's; `means` those of the last whole epoch. `telemetry`
    is what dense recording goes on from; checkpoints of an earlier release have none.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    count: int = 0
    means: dict[str, float] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)

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
            "telemetry": self.telemetry,
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
        self.recorder: DenseRecorder
        self.monitoring = Monitoring()

    def run(
        self,
        after_epoch: Callable[[int, int, Mapping[str, float]], Mapping[str, float | None]],
        glance: Callable[[int], None],
    ) -> Trained:
        """Trains from the newest checkpoint, or from the start, to the last step."""
        with (
            DenseRecorder(
                self.context.emitter,
                self.config.telemetry,
                model=self.reader,
                groups=_parts(self.reader),
            ) as self.recorder,
            self._monitored() as self.monitoring,
        ):
            return self._run(after_epoch, glance)

    def _monitored(self) -> AbstractContextManager[Monitoring]:
        """Of the language model, where training has it read anything."""
        if not self.config.answer_tokens:
            return nullcontext(Monitoring())
        return monitored(self.config, self.context, self.reader.language_model)

    def _run(
        self,
        after_epoch: Callable[[int, int, Mapping[str, float]], Mapping[str, float | None]],
        glance: Callable[[int], None],
    ) -> Trained:
        saved = checkpointing.restore(self.accelerator, self.context.checkpoints, self.monitoring)
        progress = Progress(**saved) if saved else Progress()
        if saved:
            self._resume_recorder(progress.telemetry)
            self.diagnostics.log(f"continues after step {progress.step} of {self.steps}")
        while progress.epoch < self.config.epochs:
            for indices in self._batches(progress):
                values = self._step(indices, progress.step)
                self._monitor(progress.step + 1, lost=values is None)
                if values is None:
                    self.diagnostics.log(f"diverged at step {progress.step + 1}")
                    self.diagnostics.record("diverged", step=progress.step + 1)
                    return Trained(progress.step, self._means(progress), diverged=True)
                progress.add(values)
                self._record(progress, values, len(indices))
                self._between(progress, glance)
            progress.sums = self._over_ranks(progress.sums)
            progress.end_epoch()
            reported = after_epoch(progress.step, progress.epoch, progress.means)
            self._end_epoch(progress, reported)
            self._save(progress)
            self.context.report(progress.step, reported)
        return Trained(progress.step, progress.means, diverged=False)

    def _monitor(self, step: int, lost: bool) -> None:
        epoch = step / self.steps_per_epoch
        self.monitoring.step(step, emit=lost or self._recorded(step), epoch=epoch)

    def _recorded(self, step: int) -> bool:
        return step % RECORD_STEPS == 0 or step == self.steps

    def _resume_recorder(self, state: Mapping[str, Any]) -> None:
        """Rank 0 wrote the state: its averages serve all ranks, an open window is its own."""
        main = self.accelerator.is_main_process
        self.recorder.restore(state if main else {**state, "window": None})

    def _end_epoch(self, progress: Progress, reported: Mapping[str, float | None]) -> None:
        """Tells the recorder; the dev split's F1, in points, stands for accuracy."""
        host = HostSnapshot(
            epoch=progress.epoch,
            train_loss=progress.means.get("loss"),
            val_accuracy=reported.get("eval/f1"),
        )
        self.recorder.epoch(host, step=progress.step)

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
        k, answer_prompts, part = self.config.answer_tokens, self.config.answer_loss_prompts, None
        if ranks > 1:
            part = share_of(
                self.train_split,
                indices,
                rank,
                ranks,
                answer_tokens=k,
                answer_prompts=answer_prompts,
            )
            indices, answer_prompts = part.indices, part.answer_prompts
        batch = self.train_split.batch(indices, k, device=self.accelerator.device)
        losses: StepLosses = self.model(batch, step, rank, answer_prompts, part)
        self.accelerator.backward(losses.total)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        values = self._values(losses) | {"grad_norm": float(norm)}
        self.recorder.batch(
            step=step + 1,
            epoch=step // self.steps_per_epoch + 1,
            batch_idx=step % self.steps_per_epoch,
            loss=values["loss"],
            grad_norm=values["grad_norm"],
        )
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
        if not self._recorded(progress.step):
            return
        epoch = progress.step / self.steps_per_epoch
        emitted = {f"train/{name}": value for name, value in values.items()}
        self.context.emitter.metrics(emitted, step=progress.step, epoch=epoch)
        values = self._over_ranks(values)
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
        """Within an epoch: the quick look and an extra checkpoint, where they are due or wanted."""
        if progress.batch == self.steps_per_epoch:
            return
        looks, saves = self.config.quick_eval_steps, self.config.checkpoint_steps
        if looks and progress.step % looks == 0:
            glance(progress.step)
        wanted = checkpointing.wanted(self.accelerator, self.context.checkpoints, progress.step)
        if wanted or (saves and progress.step % saves == 0):
            self._save(progress)

    def _save(self, progress: Progress) -> None:
        progress.sums = self._over_ranks(progress.sums)  # whole for any number of ranks
        progress.telemetry = self.recorder.to_state()
        checkpointing.save(
            self.accelerator,
            self.context.checkpoints,
            progress.step,
            progress.to_json(),
            self.monitoring,
        )

    def _means(self, progress: Progress) -> dict[str, float]:
        if not progress.count:
            return progress.means
        sums = self._over_ranks(progress.sums)
        return {name: total / progress.count for name, total in sums.items()}

    def _over_ranks(self, shares: Mapping[str, float]) -> dict[str, float]:
        """The ranks' shares as values of the whole batch. All ranks call it."""
        if self.accelerator.num_processes == 1 or not shares:
            return dict(shares)
        mine = torch.tensor(
            list(shares.values()), dtype=torch.float64, device=self.accelerator.device
        )
        whole = self.accelerator.reduce(mine, reduction="mean").tolist()
        return dict(zip(shares, whole, strict=True))


def _groups(reader: Reader) -> list[dict[str, Any]]:
    """Parameter groups; `peak` is the rate that the cosine schedule starts from."""
    config = reader.config
    groups = [(list(reader.adapter.parameters()), config.learning_rate)]
    if len(reader.lora):
        groups.append((list(reader.lora.values()), config.lora_learning_rate))
    return [{"params": params, "lr": rate, "peak": rate} for params, rate in groups]


def _parts(reader: Reader) -> dict[str, list[torch.nn.Parameter]]:
    """What dense recording tells apart: the adapter's modules, what is the adapter's own, LoRA."""
    parts: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in reader.adapter.named_parameters():
        module = name.partition(".")[0] if "." in name else "(own)"
        parts.setdefault(f"adapter.{module}", []).append(parameter)
    return {**parts, **({"lora": list(reader.lora.values())} if len(reader.lora) else {})}


def _gpu_memory(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
