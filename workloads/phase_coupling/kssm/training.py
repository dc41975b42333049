"""Training from scratch: batches in a seeded order, cross-entropy and the oscillators' terms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from telemetry.contracts import HostSnapshot
from telemetry.dense import DenseRecorder
from workloads.contract import TrialContext
from workloads.errors import InputError
from workloads.phase_coupling.kssm.history import History
from workloads.phase_coupling.kssm.model import KssmModel, Read, decayed
from workloads.phase_coupling.kssm.oscillators import penalty
from workloads.phase_coupling.kssm_config import KssmConfig
from workloads.training import checkpointing, generator, is_finite
from workloads.training.monitoring import monitored

if TYPE_CHECKING:
    from accelerate import Accelerator

RECORD_STEPS = 10
REPORT_STEPS = 50


def batches(texts: int, config: KssmConfig, seed: int, first: int = 0) -> Iterator[list[int]]:
    """The texts of each step from `first` on: passes over all of them, each in an order drawn for
    it; one pass follows the other within a batch."""
    orders: dict[int, list[int]] = {}
    for step in range(first, config.steps):
        chosen = []
        for at in range(step * config.batch_size, (step + 1) * config.batch_size):
            turn = at // texts
            if turn not in orders:
                stream = generator(seed, f"order/{turn}")
                orders[turn] = torch.randperm(texts, generator=stream).tolist()
            chosen.append(orders[turn][at % texts])
        yield chosen


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Of each token but the first, in nats: [batch, tokens - 1]."""
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none"
    )


class Trainer:
    """Trains a model on the training texts [texts, tokens], from the newest checkpoint on."""

    def __init__(
        self,
        model: KssmModel,
        train: Tensor,
        config: KssmConfig,
        context: TrialContext,
        accelerator: Accelerator,
    ) -> None:
        if config.batch_size % accelerator.num_processes:
            raise InputError(
                f"batch_size is {config.batch_size}, which {accelerator.num_processes} ranks can't "
                "share evenly; give a multiple of their number"
            )
        self.config, self.context, self.accelerator = config, context, accelerator
        self.train = train
        self.plain = model
        weights, rest = decayed(model)
        optimizer = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": config.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=True,
        )
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.history = History()

    def run(self) -> bool:
        """Trains to the last step; whether a loss or gradient was not finite, which ends it. The
        model then has the weights from before that step."""
        with (
            DenseRecorder(
                self.context.emitter,
                self.config.telemetry,
                model=self.plain,
                groups={"all": list(self.plain.parameters())},
            ) as self.recorder,
            monitored(
                self.config, self.context, self.plain, layer=self.plain.last
            ) as self.monitoring,
        ):
            return self._run()

    def _run(self) -> bool:
        saved = checkpointing.restore(self.accelerator, self.context.checkpoints, self.monitoring)
        if saved:
            self.history = History(saved["history"])
            telemetry = saved["telemetry"]
            main = self.accelerator.is_main_process
            self.recorder.restore(telemetry if main else {**telemetry, "window": None})
        self.model.train()
        first = self.history.steps
        for chosen in batches(len(self.train), self.config, self.context.seed, first):
            step = self.history.steps + 1
            row = self._step(chosen, step)
            recorded = step % RECORD_STEPS == 0 or step == self.config.steps
            self.monitoring.step(step, emit=recorded or row is None)
            if row is None:
                return True
            self.history.add(row)
            if recorded:
                named = {f"train/{name}": value for name, value in row.items()}
                self.context.emitter.metrics(named, step=step)
            self._between(step)
        return False

    def _step(self, chosen: Sequence[int], step: int) -> dict[str, float | None] | None:
        """One optimizer step; its row, or None (and unchanged weights) if one is not finite."""
        config, ranks = self.config, self.accelerator.num_processes
        device = self.accelerator.device
        mine = slice(self.accelerator.process_index, None, ranks)
        ids = self.train[torch.tensor(chosen[mine])].to(device)
        noise = self.plain.draw_noise(
            generator(self.context.seed, f"noise/{step}"), len(chosen), ids.shape[1]
        )
        read: Read = self.model(ids, None if noise is None else noise[:, mine].to(device))
        ce = cross_entropy(read.logits, ids).mean()
        loss = ce + self._terms(read)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        values = self._over_ranks(self._values(loss, ce, read)) | {"grad_norm": float(norm)}
        self.recorder.batch(
            step=step,
            epoch=(step - 1) // REPORT_STEPS + 1,
            batch_idx=(step - 1) % REPORT_STEPS,
            loss=values["loss"],
            grad_norm=values["grad_norm"],
        )
        if not is_finite({name: values[name] for name in ("loss", "grad_norm")}):
            self.optimizer.zero_grad(set_to_none=True)
            return None
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(config, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def _terms(self, read: Read) -> Tensor | float:
        """The mean over blocks of what the loss gets for their controls."""
        config = self.config
        each = [
            penalty(one, config.determinant_weight, config.control_weight) for one in read.measured
        ]
        return torch.stack(each).mean() if each else 0.0

    def _values(self, loss: Tensor, ce: Tensor, read: Read) -> dict[str, float]:
        values = {"loss": loss, "ce": ce}
        if read.measured:
            values |= {
                "r": torch.stack([one.r.mean() for one in read.measured]).mean(),
                "u": torch.stack([one.control.mean() for one in read.measured]).mean(),
                "determinant": torch.stack([m.determinant.mean() for m in read.measured]).mean(),
            }
        return {name: float(value.detach()) for name, value in values.items()}

    def _over_ranks(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Means over the ranks' shares, which are of one size. All ranks call it."""
        if self.accelerator.num_processes == 1:
            return dict(shares)
        mine = torch.tensor(
            list(shares.values()), dtype=torch.float64, device=self.accelerator.device
        )
        whole = self.accelerator.reduce(mine, reduction="mean").tolist()
        return dict(zip(shares, whole, strict=True))

    def _between(self, step: int) -> None:
        """A report and a checkpoint, where they are due or wanted."""
        every = self.config.checkpoint_steps
        wanted = checkpointing.wanted(self.accelerator, self.context.checkpoints, step)
        reports = step % REPORT_STEPS == 0 or step == self.config.steps
        ce = self.history.columns["ce"]
        mean = sum(value or 0.0 for value in ce[-REPORT_STEPS:]) / len(ce[-REPORT_STEPS:])
        if reports:
            epoch = -(-step // REPORT_STEPS)
            self.recorder.epoch(HostSnapshot(epoch=epoch, train_loss=mean), step=step)
        if step < self.config.steps and (wanted or (every and step % every == 0)):
            self._save(step)
        if reports:
            self.context.report(step, {"train/ce": mean})

    def _save(self, step: int) -> None:
        progress: dict[str, Any] = {
            "history": self.history.columns,
            "telemetry": self.recorder.to_state(),
        }
        checkpointing.save(
            self.accelerator, self.context.checkpoints, step, progress, self.monitoring
        )


def rate_at(config: KssmConfig, step: int) -> float:
    """The learning rate of a step, counted from 1: a linear start, then half a cosine to 0.

    >>> config = KssmConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    >>> rate_at(config, 1), rate_at(config, 11), round(rate_at(config, 100), 3)
    (0.1, 1.0, 0.0)
    """
    done = step - 1
    if done < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    share = (done - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
