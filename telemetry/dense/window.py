"""A window of dense recording: why it is open, until when, and the batches it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from telemetry.contracts import BatchMetrics, DenseTrace, GateEvaluationTrace
from telemetry.dense.capture import Captured
from telemetry.dense.trigger import kind_of

BATCHES_BEFORE = 50
"""How many batches from just before a trigger a trace holds at most, and causes are looked for in.
"""


@dataclass(frozen=True)
class SeenBatch:
    """One batch, as a training loop handed it over. `captured`: its place in `group_norms`."""

    step: int
    epoch: int
    batch_idx: int
    loss: float | None = None
    accuracy: float | None = None
    grad_norm: float | None = None
    grad_norms: Mapping[str, float | None] | None = None
    captured: int | None = None

    def settled(self, group_norms: Sequence[Mapping[str, float | None]]) -> SeenBatch:
        """This batch with its captured norms, unless the loop gave norms itself."""
        if self.captured is None:
            return self
        norms = group_norms[self.captured] if self.grad_norms is None else self.grad_norms
        return replace(self, grad_norms=norms, captured=None)

    def metrics(self) -> BatchMetrics:
        """As the contract has it."""
        return BatchMetrics(
            epoch=self.epoch,
            batch_idx=self.batch_idx,
            step=self.step,
            loss=self.loss,
            accuracy=self.accuracy,
            host_grad_norm=self.grad_norm,
            seed_grad_norms=dict(self.grad_norms or {}),
        )


@dataclass
class Window:
    """What becomes one `DenseTrace`, or several where it is long. It ends with `last_epoch`."""

    reasons: list[str]
    trigger_step: int | None
    first_epoch: int
    last_epoch: int
    batches: list[SeenBatch] = field(default_factory=list)
    gate: GateEvaluationTrace | None = None

    def add(self, reason: str, last_epoch: int) -> None:
        """Another trigger: the end moves back. A reason stands once, with its first measure."""
        for one in reason.split(","):
            if kind_of(one) not in map(kind_of, self.reasons):
                self.reasons.append(one)
        self.last_epoch = max(self.last_epoch, last_epoch)

    def trace(self, captured: Captured, epoch: int) -> DenseTrace:
        """What was seen of it up to `epoch`, the running one; settles its batches."""
        self.batches = [batch.settled(captured.group_norms) for batch in self.batches]
        steps = [batch.step for batch in self.batches]
        gradients, activations = captured.gradients, captured.activations
        seen = bool(captured.group_norms or activations.means)
        return DenseTrace(
            trigger_reason=",".join(self.reasons),
            trigger_step=self.trigger_step,
            window_start_epoch=min([batch.epoch for batch in self.batches] or [self.first_epoch]),
            window_end_epoch=epoch,
            window_start_step=min(steps, default=None),
            window_end_step=max(steps, default=None),
            batch_metrics=[batch.metrics() for batch in self.batches],
            gradient_histograms=dict(gradients.histograms),
            histogram_edges=list(captured.histogram_edges) if seen else [],
            gradient_flow=dict(gradients.flow) if seen else {},
            activation_means=dict(activations.means),
            activation_stds=dict(activations.stds),
            dead_neuron_counts=dict(activations.dead),
            gate_evaluation_details=self.gate,
        )

    def to_state(self) -> dict[str, Any]:
        """What a resumed trial needs to go on with it; not the batches it has seen."""
        return {
            "reasons": list(self.reasons),
            "trigger_step": self.trigger_step,
            "first_epoch": self.first_epoch,
            "last_epoch": self.last_epoch,
        }
