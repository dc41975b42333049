"""What sets a dense trace off: the conditions, and a watch that keeps the averages they need."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from telemetry.anomalies import (
    ACCURACY_DROP,
    ALPHA,
    ENTROPY_COLLAPSE,
    FORCED,
    GRADIENT_EXPLOSION,
    LEAST_GRADIENT_NORM,
    LOSS_SPIKE,
    VALUE_COLLAPSE_STD,
    VALUE_STD_WINDOW,
    RunningAverage,
    values_collapsed,
)
from telemetry.contracts import HostSnapshot, PolicySnapshot, SlotSnapshot

_AT_REST = ("UNKNOWN", "DORMANT")
MEASURED = ("loss_spike", "accuracy_drop", "gradient_explosion")
"""Reasons with a measure behind the colon; behind the others' colon is the slot, if anything."""


@dataclass(frozen=True)
class DenseTraceTrigger:
    """The conditions for a dense trace. Thresholds are strict: a value at one does not fire."""

    stage_transition: bool = True
    """A slot has entered a stage (it has been there for 0 epochs)."""
    loss_spike_threshold: float = LOSS_SPIKE
    """Times the running average of the loss."""
    accuracy_drop_threshold: float = ACCURACY_DROP
    """Points, from one epoch to the next."""
    gradient_explosion: float = GRADIENT_EXPLOSION
    """Times the running average of the gradient norm."""
    gate_failure: bool = True
    value_collapse: bool = True
    """The critic says the same of every state."""
    entropy_collapse: bool = True
    """The policy has become deterministic."""
    force_dense: bool = False
    """Always fires."""
    value_std_threshold: float = VALUE_COLLAPSE_STD
    """Below it, as the mean of the last `value_std_window` standard deviations, lies collapse."""
    value_std_window: int = VALUE_STD_WINDOW
    entropy_threshold: float = ENTROPY_COLLAPSE
    """Nats."""
    ema_alpha: float = ALPHA
    """Weight of a new value in the running averages."""

    def __post_init__(self) -> None:
        for name in ("loss_spike_threshold", "accuracy_drop_threshold", "gradient_explosion"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but should be above 0")
        if not 0 < self.ema_alpha <= 1:
            raise ValueError(f"ema_alpha is {self.ema_alpha}, but should be in (0, 1]")
        if self.value_std_window < 1:
            raise ValueError(
                f"value_std_window is {self.value_std_window}, but should be 1 or more"
            )


class TriggerWatch:
    """Compares what one rank measures with what it measured before, by a `DenseTraceTrigger`.

    Batches and epochs have averages of their own. A value is compared before it enters its average;
    one that is not finite is a reason in itself and enters none. What was not measured (None)
    changes nothing.
    """

    def __init__(self, trigger: DenseTraceTrigger | None = None) -> None:
        self.trigger = trigger if trigger is not None else DenseTraceTrigger()
        self._averages: dict[str, RunningAverage] = {}
        self._accuracy: float | None = None
        self._value_stds: deque[float] = deque(maxlen=self.trigger.value_std_window)

    def batch(self, *, loss: float | None = None, grad_norm: float | None = None) -> str | None:
        """The joined reasons that a batch gives, such as ``loss_spike:3.2x``; None if none."""
        reasons = [FORCED] if self.trigger.force_dense else []
        reasons += self._loss("batch/loss", loss)
        reasons += self._gradient("batch/gradient", grad_norm)
        return ",".join(reasons) or None

    def epoch(
        self,
        host: HostSnapshot | None = None,
        slots: Sequence[SlotSnapshot] = (),
        policy: PolicySnapshot | None = None,
    ) -> str | None:
        """The joined reasons that an epoch's snapshots give; None if none.

        The loss is that of the validation, or of training where there is no validation.
        """
        reasons = [FORCED] if self.trigger.force_dense else []
        if host is not None:
            name = "train" if host.val_loss is None else "val"
            loss = host.train_loss if host.val_loss is None else host.val_loss
            reasons += self._loss(f"epoch/{name}_loss", loss)
            reasons += self._accuracy_drop(host.val_accuracy)
            reasons += self._gradient("epoch/gradient", host.host_grad_norm)
        for slot in slots:
            reasons += self._slot(slot)
        if policy is not None:
            reasons += self._policy(policy)
        return ",".join(reasons) or None

    def to_state(self) -> dict[str, Any]:
        """All that a resumed trial needs to go on with the same averages, as JSON-like data."""
        return {
            "averages": {name: average.value for name, average in self._averages.items()},
            "accuracy": self._accuracy,
            "value_stds": list(self._value_stds),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], trigger: DenseTraceTrigger | None = None
    ) -> TriggerWatch:
        """The watch that gave `state`; an empty state is a new watch."""
        watch = cls(trigger)
        for name, value in state.get("averages", {}).items():
            watch._average(name).value = value
        watch._accuracy = state.get("accuracy")
        watch._value_stds.extend(state.get("value_stds", ()))
        return watch

    def _loss(self, name: str, loss: float | None) -> list[str]:
        if loss is None:
            return []
        if not math.isfinite(loss):
            return ["loss_nonfinite"]
        times = self._average(name).times(loss)
        spikes = times is not None and times > self.trigger.loss_spike_threshold
        return [f"loss_spike:{times:.1f}x"] if spikes else []

    def _gradient(self, name: str, norm: float | None) -> list[str]:
        if norm is None:
            return []
        if not math.isfinite(norm):
            return ["gradient_nonfinite"]
        times = self._average(name).times(norm, least=LEAST_GRADIENT_NORM)
        explodes = times is not None and times > self.trigger.gradient_explosion
        return [f"gradient_explosion:{times:.0f}x"] if explodes else []

    def _average(self, name: str) -> RunningAverage:
        return self._averages.setdefault(name, RunningAverage(self.trigger.ema_alpha))

    def _accuracy_drop(self, accuracy: float | None) -> list[str]:
        if accuracy is None or not math.isfinite(accuracy):
            return []
        before, self._accuracy = self._accuracy, accuracy
        if before is None or not before - accuracy > self.trigger.accuracy_drop_threshold:
            return []
        return [f"accuracy_drop:{before - accuracy:.1f}"]

    def _slot(self, slot: SlotSnapshot) -> list[str]:
        reasons = []
        # A slot in which nothing grows is at 0 epochs all the time and goes through nothing.
        entered = slot.epochs_in_stage == 0 and slot.stage not in _AT_REST
        if self.trigger.stage_transition and entered:
            reasons.append(f"stage_transition:{slot.slot_id}")
        if self.trigger.gate_failure and slot.last_gate_passed is False:
            reasons.append(f"gate_failure:{slot.slot_id}")
        return reasons

    def _policy(self, policy: PolicySnapshot) -> list[str]:
        reasons = []
        std, entropy = policy.value_std, policy.entropy
        if std is not None and math.isfinite(std):
            self._value_stds.append(std)
            below, window = self.trigger.value_std_threshold, self.trigger.value_std_window
            if self.trigger.value_collapse and values_collapsed([*self._value_stds], below, window):
                reasons.append("value_collapse")
        low = entropy is not None and entropy < self.trigger.entropy_threshold
        if self.trigger.entropy_collapse and low:
            reasons.append("entropy_collapse")
        return reasons


def kind_of(reason: str) -> str:
    """A reason without its measure: what is the same reason when it fires again.

    >>> kind_of("loss_spike:3.2x"), kind_of("gate_failure:mid")
    ('loss_spike', 'gate_failure:mid')
    """
    kind = reason.partition(":")[0]
    return kind if kind in MEASURED else reason
