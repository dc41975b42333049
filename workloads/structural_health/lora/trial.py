"""One trial: a short LoRA fine-tuning, every step of it watched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from statistics import fmean
from typing import Any

import torch

from telemetry.contracts import HostSnapshot
from telemetry.dense import DenseRecorder
from telemetry.probes import MonitorSuite
from workloads.contract import Monitor, Result, TrialContext
from workloads.errors import DivergedError, InputError
from workloads.models import load_tokenizer
from workloads.structural_health.lora.adapting import load_adapted
from workloads.structural_health.lora.batches import Batch, Sentences
from workloads.structural_health.lora.checkpoints import read_checkpoint, write_checkpoint
from workloads.structural_health.lora.series import SERIES, Series
from workloads.structural_health.lora_config import MEASURED, LoraHealthConfig
from workloads.training import seeded, stream_seed
from workloads.training.process import deterministic_process


def run_trial(config: LoraHealthConfig, context: TrialContext) -> Result:
    """Trains (or only reads, with `train` off) and measures.

    A trial in which a loss or a hidden state is not finite is flagged `diverged`. Raises
    `DivergedError` where that leaves no step with a ratio.
    """
    if context.ranks > 1:
        raise InputError(
            f"structural_health_lora is measured by one process, not {context.ranks}; "
            "ask for one rank"
        )
    with deterministic_process(config.threads):
        return _Trial(config, context).run()


class _Trial:
    """The state that the steps of one trial share."""

    def __init__(self, config: LoraHealthConfig, context: TrialContext) -> None:
        self.config, self.context = config, context
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tokenizer = load_tokenizer(config.model)
        self.sentences = Sentences(tokenizer, config.max_length, config.pads, device)
        self.model, self.trained = load_adapted(config, context.seed, device)
        self.optimizer = (
            torch.optim.AdamW(self.trained.values(), lr=config.learning_rate)
            if self.trained
            else None
        )
        self.watched_sentence = self.sentences.one(context.seed)
        self.series = Series()

    def run(self) -> Result:
        config, context = self.config, self.context
        self._describe()
        started = time.perf_counter()
        with (
            self._watching(MEASURED) as self.suite,
            self._watching_beside() as self.beside,
            DenseRecorder(
                context.emitter,
                config.telemetry,
                model=self.model,
                groups={"lora": list(self.trained.values())},
            ) as self.recorder,
        ):
            self._train()
        metrics = {
            **self.series.metrics(config.threshold),
            "lora_parameters": float(sum(p.numel() for p in self.trained.values())),
            "train_seconds": time.perf_counter() - started,
        }
        self.series.write_csv(context.artifacts / SERIES)
        if metrics["nonfinite_steps"] and not metrics["measured_steps"]:
            raise DivergedError(
                f"hidden states were not finite at {metrics['nonfinite_steps']:.0f} of "
                f"{self.series.steps} steps: no step has a ratio"
            )
        lost = metrics["nonfinite_steps"] or metrics["nonfinite_losses"]
        return Result(
            metrics,
            scores=[self.series.scores()],
            flags=frozenset({"diverged"} if lost else ()),
            notes=self._notes(metrics),
        )

    def _watching_beside(self) -> AbstractContextManager[MonitorSuite | None]:
        """What is asked for beside what is measured anyway: none of it looks at the window. It is
        watched apart, so that nothing in it can touch what is measured."""
        beside = [name for name in self.config.monitors if name not in MEASURED]
        return self._watching(beside) if beside else nullcontext()

    def _watching(self, monitors: Sequence[Monitor]) -> MonitorSuite:
        config = self.config
        return MonitorSuite.attach(
            self.model,
            monitors,
            window=config.window,
            threshold=config.threshold,
            layer=config.layer,
            strict=True,
        )

    def _train(self) -> None:
        self._restore()
        for batch in self._batches():
            step = self.series.steps + 1
            self._record(batch, step, *self._step(batch, step))
            every = self.config.checkpoint_steps
            due = bool(every) and step % every == 0 and step < self.config.steps
            if self.context.checkpoints.wanted() or due:
                self._save(step)
            if step % self.config.steps_per_epoch == 0 or step == self.config.steps:
                self._end_epoch(step)

    def _batches(self) -> Iterator[Batch]:
        """Those of the steps that are left."""
        config = self.config
        every = (
            batch
            for epoch in range(config.epochs)
            for batch in self.sentences.batches(self.context.seed, epoch, config.batch_size)
        )
        return islice(every, self.series.steps, config.steps)

    def _step(self, batch: Batch, step: int) -> tuple[float, float | None]:
        """One optimizer step: its loss in nats per token, and the norm of LoRA's gradient."""
        if self.optimizer is None:
            with torch.no_grad():
                loss, norm = self._loss(batch), None
        else:
            self.model.train()
            with seeded(self.context.seed, f"lora/dropout/{step}"):
                loss = self._loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            grads = [p.grad for p in self.trained.values() if p.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(grads))
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        if self.config.watch == "sentence":
            self.model.eval()
            with torch.no_grad():
                self._loss(self.watched_sentence)
        return float(loss.detach()), norm

    def _loss(self, batch: Batch) -> torch.Tensor:
        out = self.model(
            input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels, use_cache=False
        )
        loss: torch.Tensor = out.loss
        return loss

    def _record(self, batch: Batch, step: int, loss: float, norm: float | None) -> None:
        health = _observed(self.suite, step)
        self.series.add(loss, health)
        health = {**_observed(self.beside, step), **health}
        self.series.pads += batch.pads
        self.series.positions += batch.ids.numel()
        row = {"train/loss": loss, "train/grad_norm": norm, **health}
        per_epoch = self.config.steps_per_epoch
        self.context.emitter.metrics(row, step=step, epoch=step / per_epoch)
        self.recorder.batch(
            step=step,
            epoch=(step - 1) // per_epoch + 1,
            batch_idx=(step - 1) % per_epoch,
            loss=loss,
            grad_norm=norm,
        )

    def _end_epoch(self, step: int) -> None:
        per_epoch = self.config.steps_per_epoch
        losses = self.series.columns["loss"][(step - 1) // per_epoch * per_epoch :]
        mean = fmean(loss for loss in losses if loss is not None)
        host = HostSnapshot(epoch=-(-step // per_epoch), train_loss=mean)
        self.recorder.epoch(host, step=step)
        self.context.report(step, {"train/loss": mean})

    def _save(self, step: int) -> None:
        progress = {"series": self.series.to_json(), "telemetry": self.recorder.to_state()}
        with self.context.checkpoints.saving(step) as folder:
            write_checkpoint(folder, self.trained, self.optimizer, self.suite.to_state(), progress)

    def _restore(self) -> None:
        checkpoint = self.context.checkpoints.latest()
        if checkpoint is None:
            return
        health, progress = read_checkpoint(checkpoint.path, self.trained, self.optimizer)
        self.suite.restore(health)
        self.series = Series.from_json(progress["series"])
        self.recorder.restore(progress["telemetry"])

    def _describe(self) -> None:
        seed = self.context.seed
        streams = [f"order/{epoch}" for epoch in range(self.config.epochs)]
        streams += ["sentence"] * (self.config.watch == "sentence")
        streams += ["lora/init"] * bool(self.trained)
        base: Any = self.model.get_base_model() if self.trained else self.model
        self.context.emitter.context(
            {
                "host_architecture": type(base).__name__,
                "host_params": sum(p.numel() for p in base.parameters() if not p.requires_grad),
                "lora_parameters": sum(p.numel() for p in self.trained.values()),
                "seeds": {name: stream_seed(seed, name) for name in streams},
                "streams_by_step": ["lora/dropout/<step>"] if self.trained else [],
            }
        )

    def _notes(self, metrics: dict[str, float | None]) -> list[str]:
        notes = []
        if metrics["collapsed_steps"]:
            notes.append(
                f"the ratio was above {self.config.threshold:g} at "
                f"{metrics['collapsed_steps']:.0f} of {metrics['measured_steps']:.0f} steps"
            )
        if metrics["nonfinite_steps"]:
            notes.append(f"hidden states were not finite at {metrics['nonfinite_steps']:.0f} steps")
        if metrics["nonfinite_losses"]:
            notes.append(f"the loss was not finite at {metrics['nonfinite_losses']:.0f} steps")
        if not metrics["measured_steps"] and not metrics["nonfinite_steps"]:
            notes.append("no step has a ratio: the window held only zeros")
        return notes


def _observed(suite: MonitorSuite | None, step: int) -> dict[str, float | None]:
    """The rows of this step. The loss was read, so that a device has nothing left to wait for."""
    if suite is None:
        return {}
    suite.observe(step)
    suite.flush()
    return suite.values()
