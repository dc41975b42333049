"""The recorder a training loop calls: it watches for triggers and writes dense traces."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from telemetry.anomalies import FORCED
from telemetry.contracts import (
    Contract,
    DenseTrace,
    GateEvaluationTrace,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from telemetry.dense.capture import NOTHING, DenseCapture
from telemetry.dense.trigger import DenseTraceTrigger, TriggerWatch
from telemetry.dense.window import BATCHES_BEFORE, SeenBatch, Window

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

Mode = Literal["standard", "adaptive", "research"]
WINDOW_EPOCHS = 3
BATCHES_PER_TRACE = 500
TRACES_KEPT = 20


class TraceEmitter(Protocol):
    """The part of `telemetry.Emitter` that a recorder uses."""

    def snapshot(
        self, contract: Contract, *, step: int | None = None, epoch: float | None = None
    ) -> None:
        """Takes the finished trace."""

    def trace(self, name: str, data: Mapping[str, Any], *, step: int, reason: str = "") -> None:
        """Takes word of a window that opens or closes."""


class DenseRecorder:
    """Watches the training of one rank and records it densely, as `mode` says.

    - standard: when a trigger fires, a window opens: all batches until `window` epochs after it,
      with those just before it; of one batch an epoch also what hooks on `model` see.
    - adaptive: the same, and the hooks see every batch of the window.
    - research: the hooks see every batch of the run, and each epoch is a trace.

    A trigger within a window extends it. After 500 batches a window goes on in another trace.
    `groups` and `modules` choose and name what the hooks look at (`telemetry.dense.groups`);
    without a model there are none. `recent` holds the last 20 traces.

    The loop calls `batch` after every backward pass, `epoch` after every epoch, and `close` (or
    uses it as a context manager). None of them raises, or waits for a GPU but to write a trace:
    what goes wrong is counted in `errors` and warned of once. Raises `ValueError` for an unknown
    mode.
    """

    def __init__(
        self,
        emitter: TraceEmitter,
        mode: Mode = "standard",
        trigger: DenseTraceTrigger | None = None,
        model: nn.Module | None = None,
        *,
        groups: Mapping[str, Iterable[nn.Parameter]] | None = None,
        modules: Mapping[str, nn.Module] | None = None,
        window: int = WINDOW_EPOCHS,
    ) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}; valid: {', '.join(get_args(Mode))}")
        forced = trigger is not None and trigger.force_dense
        self.mode: Mode = "research" if forced else mode
        self._errors = 0
        self.recent: deque[DenseTrace] = deque(maxlen=TRACES_KEPT)
        self._emitter, self._epochs = emitter, window
        self._watch = TriggerWatch(trigger)
        self._before: deque[SeenBatch] = deque(maxlen=BATCHES_BEFORE)
        self._window: Window | None = None
        self._epoch = 0
        self._step = 0
        self._sample_due = True
        self._closed = False
        self._capture: DenseCapture | None = None
        try:
            if model is not None:
                self._capture = DenseCapture(model, groups, modules)
            self._switch_hooks()
        except Exception as error:
            self._failed(error)

    @property
    def errors(self) -> int:
        """How often something went wrong, hooks included; training went on."""
        return self._errors + (0 if self._capture is None else self._capture.errors)

    @property
    def recording(self) -> bool:
        """Whether a window is open, or the mode is research."""
        return not self._closed and (self.mode == "research" or self._window is not None)

    def batch(
        self,
        *,
        step: int,
        epoch: int,
        batch_idx: int,
        loss: float | None = None,
        accuracy: float | None = None,
        grad_norm: float | None = None,
        grad_norms: Mapping[str, float | None] | None = None,
    ) -> None:
        """A batch after its backward pass; `step` as in the loop's metrics, None: not measured.

        On a GPU, give numbers that the loop reads anyway: a tensor would have to be waited for.
        `grad_norms` is by group; without it, what the hooks saw is taken.
        """
        if self._closed:
            return
        try:
            self._begin(epoch)
            row = self._capture.end_batch() if self._capture is not None else None
            loss, accuracy, grad_norm = map(_number, (loss, accuracy, grad_norm))
            self._take(
                SeenBatch(step, epoch, batch_idx, loss, accuracy, grad_norm, grad_norms, row)
            )
            self._switch_hooks()
        except Exception as error:
            self._failed(error)

    def epoch(
        self,
        host: HostSnapshot,
        slots: Sequence[SlotSnapshot] = (),
        policy: PolicySnapshot | None = None,
        *,
        step: int,
        gate: GateEvaluationTrace | None = None,
    ) -> None:
        """The end of an epoch, with what is known of it; `gate`: how a gate came to its answer.

        The snapshots are looked at, not recorded: that is for the emitter.
        """
        if self._closed:
            return
        try:
            self._step, self._epoch, self._sample_due = step, host.epoch, True
            reason = self._watch.epoch(host, slots, policy)
            if self._window is not None and host.epoch >= self._window.last_epoch and not reason:
                self._end_window()
            if reason is not None:
                self._fire(reason)
                if self._window is not None and self._window.gate is None:
                    self._window.gate = gate if gate is not None else _failed_gate(slots)
            if self.mode == "research":
                self._end_window()
            self._switch_hooks()
        except Exception as error:
            self._failed(error)

    def to_state(self) -> dict[str, Any]:
        """What a resumed trial needs to go on as this one would, as JSON-like data.

        The averages, and the window that is open; not the batches that it has seen.
        """
        window = None if self._window is None or self.mode == "research" else self._window
        return {
            "watch": self._watch.to_state(),
            "window": None if window is None else window.to_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from the `to_state` of another recorder; an empty state changes nothing."""
        try:
            watch, window = state.get("watch"), state.get("window")
            if watch is not None:
                self._watch = TriggerWatch.from_state(watch, self._watch.trigger)
            if window is not None and self.mode != "research":
                self._window = Window(**window)
                self._epoch = self._window.first_epoch
            self._switch_hooks()
        except Exception as error:
            self._failed(error)

    def close(self) -> None:
        """Writes the window that is open and takes the hooks off; later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._end_window()
        except Exception as error:
            self._failed(error)
        if self._capture is not None:
            self._capture.remove()

    def __enter__(self) -> DenseRecorder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self, epoch: int) -> None:
        """A loop that never says when an epoch ends is told by its batches."""
        if epoch <= self._epoch:
            return
        if self._window is not None and epoch > self._window.last_epoch:
            self._end_window()
        self._epoch, self._sample_due = epoch, True

    def _take(self, seen: SeenBatch) -> None:
        self._step, self._epoch = seen.step, seen.epoch
        if self.mode == "research" and self._window is None:
            self._window = Window([FORCED], None, seen.epoch, seen.epoch)
        if self._window is None:
            self._before.append(seen)
        else:
            self._window.batches.append(seen)
        if seen.captured is not None:
            self._sample_due = False
        reason = self._watch.batch(loss=seen.loss, grad_norm=seen.grad_norm)
        if reason is not None:
            self._fire(reason)
        if self._window is not None and len(self._window.batches) >= BATCHES_PER_TRACE:
            self._write()

    def _fire(self, reason: str) -> None:
        """A trigger, at the running step: it opens a window, or extends the one that is open."""
        research = self.mode == "research"
        if self._window is None:
            why = [FORCED] if research else []
            self._window = Window(why, None, self._epoch, self._epoch, list(self._before))
            self._before.clear()
            self._sample_due = True
            if not research:
                self._say("opened", reason)
        if self._window.trigger_step is None and reason != FORCED:
            self._window.trigger_step = self._step
        self._window.add(reason, self._epoch + (0 if research else self._epochs))

    def _end_window(self) -> None:
        window = self._window
        if window is None:
            return
        if window.batches or window.reasons != [FORCED]:
            self._write()
        self._window = None
        if self.mode != "research":
            self._say("closed", ",".join(window.reasons))

    def _write(self) -> None:
        """Writes what the window has seen; a window that goes on does so in a further trace."""
        window = self._window
        assert window is not None
        captured = NOTHING if self._capture is None else self._capture.read()
        trace = window.trace(captured, self._epoch)
        self._emitter.snapshot(trace, step=trace.window_end_step, epoch=float(self._epoch))
        self.recent.append(trace)
        if self.mode == "research":
            self._window = Window([FORCED], None, self._epoch, self._epoch)
        else:
            self._before.extend(window.batches)
            window.batches = []

    def _say(self, state: str, reason: str) -> None:
        data = {"state": state, "mode": self.mode}
        self._emitter.trace("dense_window", data, step=self._step, reason=reason)

    def _switch_hooks(self) -> None:
        """Hooks are on the model when the next batch is to be captured, and not otherwise."""
        if self._capture is None:
            return
        every = self.mode == "research" or (self.mode == "adaptive" and self._window is not None)
        sample = self.mode == "standard" and self._window is not None and self._sample_due
        if self._closed or self._capture.errors or not (every or sample):
            self._capture.remove()
        else:
            self._capture.install()

    def _failed(self, error: Exception) -> None:
        self._errors += 1
        self._window = None
        if self._capture is not None:
            self._capture.remove()
        if self._errors == 1:
            logger.warning("dense recording: %s: %s", type(error).__name__, error)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _failed_gate(slots: Sequence[SlotSnapshot]) -> GateEvaluationTrace | None:
    """What a snapshot says of the first gate that failed."""
    for slot in slots:
        if slot.last_gate_passed is False:
            return GateEvaluationTrace(
                gate=slot.last_gate_attempted or "",
                slot_id=slot.slot_id,
                passed=False,
                message=slot.last_gate_reason or "",
            )
    return None
