"""One epoch of training: batches in a seeded order, one step of all optimizers for each.

Several ranks share each batch, and the gradients' sum is theirs all. The network is not wrapped for
data parallelism: its parameters come and go between epochs, and a seed's gate has no gradient while
the seed trains apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from telemetry.dense import DenseRecorder
from workloads.morphogenesis.body.isolation import GradientBalance
from workloads.morphogenesis.body.slot import ISOLATED
from workloads.morphogenesis.measuring import score
from workloads.morphogenesis.optimizing import HOST, Optimizers
from workloads.training import generator, seeded

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workloads.morphogenesis.body.hosts import GrowingHost
    from workloads.morphogenesis.config import MorphogenesisConfig
    from workloads.morphogenesis.data import Split


Watch = Callable[[int, bool], None]
"""Told after a batch of its step, and whether it is the last of its epoch."""


@dataclass(frozen=True)
class EpochTrained:
    """What was seen in an epoch.

    Attributes:
        steps: optimizer steps that were made.
        loss: mean over the examples, nats; `accuracy` in percent. None where no step was made.
        norms: gradient norm of the host and of each seed, mean over the steps.
        ratios: gradient ratio of each seed; None: no gradient was seen.
        violations: by slot, batches in which an isolated seed's input carried gradient.
        leakage: the largest norm of it; None where no seed is isolated.
        lost: whether a loss or gradient was not finite; that step was not made, and the rest of the
            epoch was left out.
    """

    steps: int
    loss: float | None
    accuracy: float | None
    norms: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, float | None] = field(default_factory=dict)
    violations: Mapping[str, int] = field(default_factory=dict)
    leakage: float | None = None
    lost: bool = False


class EpochTrainer:
    """Trains a host and the seeds in it on a split, an epoch at a time."""

    def __init__(
        self,
        host: GrowingHost,
        optimizers: Optimizers,
        split: Split,
        config: MorphogenesisConfig,
        accelerator: Accelerator,
        seed: int,
        prefix: str,
    ) -> None:
        self._host, self._optimizers, self._split = host, optimizers, split
        self._config, self._accelerator = config, accelerator
        self._seed, self._prefix = seed, prefix
        self._seen = _Sums()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of a whole epoch."""
        return math.ceil(len(self._split) / self._config.batch_size)

    def run(
        self,
        epoch: int,
        step: int,
        recorder: DenseRecorder | None = None,
        between: Callable[[int], None] | None = None,
        watch: Watch | None = None,
    ) -> EpochTrained:
        """Trains epoch `epoch` (from 0), before which `step` steps were made; after `restore`, what
        is left of it.

        Batches come in the order of the stream `order/<epoch>`; whatever draws from torch's own
        numbers gets the stream `train/<epoch>/<batch>/<rank>`. `between` is called after every step
        but the last, with the number of steps until then; `watch` after every batch, be its step
        made or not.
        """
        rank = self._accelerator.process_index
        order = torch.randperm(
            len(self._split), generator=generator(self._seed, f"{self._prefix}order/{epoch}")
        )
        self._host.train()
        batches = torch.split(order, self._config.batch_size)
        for number in range(self._seen.steps, len(batches)):
            with seeded(self._seed, f"{self._prefix}train/{epoch}/{number}/{rank}"):
                values = self._step(batches[number])
            if recorder is not None:
                recorder.batch(
                    step=step + number + 1,
                    epoch=epoch + 1,
                    batch_idx=number,
                    loss=values.loss,
                    accuracy=values.accuracy,
                    grad_norm=values.norms[HOST],
                    grad_norms=values.norms,
                )
            if watch is not None:
                watch(step + number + 1, number + 1 == len(batches) or not values.finite)
            if not values.finite:
                self._optimizers.zero_grad()
                return self._ended(lost=True)
            self._optimizers.step()
            self._optimizers.zero_grad()
            self._seen.add(values, len(batches[number]))
            if between is not None and number + 1 < len(batches):
                between(step + number + 1)
        return self._ended()

    def to_state(self) -> dict[str, Any]:
        """What was seen of the epoch that is being trained, as plain JSON."""
        slots = self._host.slots.items()
        return {
            "seen": asdict(self._seen),
            "isolation": {name: slot.isolation.seen for name, slot in slots},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The next `run` goes on within an epoch, of which another trainer's `to_state` tells."""
        seen = dict(state["seen"])
        balances = seen.pop("balances")
        self._seen = _Sums(**seen)
        self._seen.balances = {name: GradientBalance(**each) for name, each in balances.items()}
        for name, slot in self._host.slots.items():
            slot.isolation.go_on(*state["isolation"][name])

    def _step(self, places: Tensor) -> _Batch:
        """Gradients of one batch, over all ranks."""
        rank, ranks = self._accelerator.process_index, self._accelerator.num_processes
        mine = places[rank::ranks]
        share = len(mine) / len(places)
        if not len(mine):  # it takes part all the same: ranks must have the same gradients
            mine = places[:1]
        mine = mine.to(self._split.inputs.device)
        with self._accelerator.autocast():
            logits = self._host(self._split.inputs[mine])
        scores, losses = score(logits, self._split.targets[mine])
        loss = losses.mean() * share
        self._accelerator.backward(loss)
        summed = torch.stack([loss.detach(), scores.mean() * share])
        if ranks > 1:
            summed = self._over_ranks(summed)
        trained = self._optimizers.parameters()
        norms = [_norm(each, summed) for each in trained.values()]
        # One copy from the device: every one would wait for it.
        loss_seen, accuracy, *seen = torch.cat([summed, torch.stack(norms)]).tolist()
        return _Batch(loss_seen, accuracy, dict(zip(trained, seen, strict=True)))

    def _over_ranks(self, values: Tensor) -> Tensor:
        """Sums gradients, and `values` with them in one message, over the ranks."""
        gradients = [
            parameter.grad
            for parameters in self._optimizers.parameters().values()
            for parameter in parameters
            if parameter.grad is not None
        ]
        flat = torch.cat([values.float(), *(gradient.flatten() for gradient in gradients)])
        flat = cast(Tensor, self._accelerator.reduce(flat, reduction="sum"))
        start = len(values)
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[: len(values)]

    def _ended(self, lost: bool = False) -> EpochTrained:
        """What the epoch was; the next one begins with nothing seen."""
        seen, self._seen = self._seen, _Sums()
        watches = {name: slot.isolation.take() for name, slot in self._host.slots.items()}
        leaks = [
            leakage
            for name, (_, leakage) in watches.items()
            if self._host.slots[name].stage in ISOLATED[self._config.host]
        ]
        count = seen.steps
        return EpochTrained(
            steps=count,
            loss=seen.loss / seen.examples if count else None,
            accuracy=seen.accuracy / seen.examples if count else None,
            norms={name: total / count for name, total in seen.norms.items()},
            ratios={
                name: balance.ratio(self._host.slots[name].seed_params, self._host.host_params)
                for name, balance in seen.balances.items()
            },
            violations={name: violations for name, (violations, _) in watches.items()},
            leakage=max(leaks) if leaks else None,
            lost=lost,
        )


@dataclass(frozen=True)
class _Batch:
    loss: float
    accuracy: float
    norms: Mapping[str, float]

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, (self.loss, *self.norms.values())))


@dataclass
class _Sums:
    """What an epoch's batches add up to; a batch counts by its examples."""

    steps: int = 0
    examples: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    norms: dict[str, float] = field(default_factory=dict)
    balances: dict[str, GradientBalance] = field(default_factory=dict)

    def add(self, batch: _Batch, examples: int) -> None:
        self.steps, self.examples = self.steps + 1, self.examples + examples
        self.loss += batch.loss * examples
        self.accuracy += batch.accuracy * examples
        for name, norm in batch.norms.items():
            self.norms[name] = self.norms.get(name, 0.0) + norm
            if name != HOST:
                self.balances.setdefault(name, GradientBalance()).observe(norm, batch.norms[HOST])


def _norm(parameters: list[torch.nn.Parameter], like: Tensor) -> Tensor:
    """Of the gradients; 0 where there are none, of the type of `like`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else like.new_zeros(())
