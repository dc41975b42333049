"""When a recorder records densely, what its traces hold, and that training never notices."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from telemetry import Emitter, Event, Trace
from telemetry.contracts import DenseTrace, GateEvaluationTrace, HostSnapshot, SlotSnapshot
from telemetry.dense import DenseRecorder, DenseTraceTrigger, Mode
from telemetry.dense.recorder import BATCHES_PER_TRACE, TRACES_KEPT
from telemetry.dense.window import BATCHES_BEFORE
from telemetry.spool import SpoolReader, spool_path

MODES: tuple[Mode, ...] = ("standard", "adaptive", "research")
PER_EPOCH = 10


@dataclass
class Spool:
    """A real emitter, and what is in its spool."""

    emitter: Emitter
    path: Path

    def events(self) -> list[Event]:
        return list(SpoolReader(self.path).read())

    def traces(self) -> list[DenseTrace]:
        return [e.payload for e in self.events() if isinstance(e.payload, DenseTrace)]

    def words(self) -> list[tuple[str, str]]:
        """(state, reason) of the windows that opened and closed."""
        marks = [e.payload for e in self.events() if isinstance(e.payload, Trace)]
        assert all(mark.name == "dense_window" for mark in marks)
        return [(mark.data["state"], mark.reason) for mark in marks]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    path = spool_path(tmp_path / "attempt-0000", 0)
    with Emitter(path, trial="4c54", attempt=0) as emitter:
        yield Spool(emitter, path)


def hooks_of(model: nn.Module) -> int:
    modules = sum(len(module._forward_hooks) for module in model.modules())
    return modules + sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())


@dataclass
class Loop:
    """A training loop on a small model, that hands a recorder what `losses` says."""

    recorder: DenseRecorder
    model: nn.Module
    losses: Callable[[int], float]
    step: int = 0
    epoch: int = 0
    """Epochs done."""
    hooked: tuple[int, ...] = ()
    """Steps at which there were hooks on the model."""

    def run(self, epochs: int = 1, **snapshot: Any) -> Loop:
        for _ in range(epochs):
            for batch_idx in range(PER_EPOCH):
                self.batch(batch_idx)
            self.epoch += 1
            host = HostSnapshot(epoch=self.epoch, **snapshot)
            self.recorder.epoch(host, step=self.step)
        return self

    def batch(self, batch_idx: int) -> None:
        self.step += 1
        if hooks_of(self.model):
            self.hooked = (*self.hooked, self.step)
        self.model.zero_grad()
        self.model(torch.ones(4, 3)).square().sum().backward()
        self.recorder.batch(
            step=self.step,
            epoch=self.epoch + 1,
            batch_idx=batch_idx,
            loss=self.losses(self.step),
            grad_norm=1.0,
        )


def loop(spool: Spool, mode: Mode, *spikes: int, trigger: DenseTraceTrigger | None = None) -> Loop:
    """The loss is 1, and 5 at the steps that are spikes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    recorder = DenseRecorder(spool.emitter, mode, trigger, model)
    return Loop(recorder, model, lambda step: 5.0 if step in spikes else 1.0)


def steps(trace: DenseTrace) -> list[int | None]:
    return [batch.step for batch in trace.batch_metrics]


@pytest.mark.parametrize("mode", ["standard", "adaptive"])
def test_training_that_goes_well_leaves_no_trace_and_no_hook(spool: Spool, mode: Mode) -> None:
    training = loop(spool, mode).run(epochs=5)
    training.recorder.close()
    assert training.hooked == ()
    assert spool.traces() == []
    assert spool.words() == []
    assert training.recorder.errors == 0


@pytest.mark.parametrize("mode", ["standard", "adaptive"])
def test_a_trigger_opens_a_window_of_three_epochs_that_shows_what_led_to_it(
    spool: Spool, mode: Mode
) -> None:
    training = loop(spool, mode, 15).run(epochs=8)
    (trace,) = spool.traces()
    assert trace.trigger_reason == "loss_spike:5.0x"
    assert trace.trigger_step == 15
    assert (trace.window_start_epoch, trace.window_end_epoch) == (1, 5)
    assert steps(trace) == list(range(1, 51))
    assert (trace.window_start_step, trace.window_end_step) == (1, 50)
    assert [batch.loss for batch in trace.batch_metrics].index(5.0) == 14
    assert [batch.batch_idx for batch in trace.batch_metrics] == list(range(PER_EPOCH)) * 5
    assert spool.words() == [("opened", "loss_spike:5.0x"), ("closed", "loss_spike:5.0x")]
    assert not training.recorder.recording
    assert list(training.recorder.recent) == [trace]


def test_standard_mode_captures_one_batch_of_each_epoch_of_the_window(spool: Spool) -> None:
    training = loop(spool, "standard", 15).run(epochs=8)
    assert training.hooked == (16, 21, 31, 41)
    (trace,) = spool.traces()
    captured = [batch.step for batch in trace.batch_metrics if batch.seed_grad_norms]
    assert captured == [16, 21, 31, 41]
    assert set(trace.gradient_flow) == {"0", "2"}


def test_adaptive_mode_captures_every_batch_of_the_window_and_none_outside(spool: Spool) -> None:
    training = loop(spool, "adaptive", 15).run(epochs=8)
    assert training.hooked == tuple(range(16, 51))
    (trace,) = spool.traces()
    captured = [batch.step for batch in trace.batch_metrics if batch.seed_grad_norms]
    assert captured == list(range(16, 51))
    norms = trace.batch_metrics[20].seed_grad_norms
    parameters = dict(training.model.named_parameters())
    for name in ("0", "2"):
        grads = [p.grad for key, p in parameters.items() if key.startswith(name)]
        expected = math.sqrt(sum(float(g.square().sum()) for g in grads if g is not None))
        assert norms[name] == pytest.approx(expected, rel=1e-5)


def test_research_mode_captures_every_batch_and_writes_a_trace_an_epoch(spool: Spool) -> None:
    training = loop(spool, "research", 15).run(epochs=3)
    training.recorder.close()
    assert training.hooked == tuple(range(1, 31))
    assert hooks_of(training.model) == 0
    traces = spool.traces()
    assert [trace.trigger_reason for trace in traces] == [
        "forced", "forced,loss_spike:5.0x", "forced",
    ]  # fmt: skip
    assert [trace.trigger_step for trace in traces] == [None, 15, None]
    assert [steps(trace) for trace in traces] == [
        list(range(first, first + 10)) for first in (1, 11, 21)
    ]
    assert all(batch.seed_grad_norms for trace in traces for batch in trace.batch_metrics)
    shares = traces[0].gradient_histograms["2"]
    assert len(shares) == len(traces[0].histogram_edges) + 1
    assert set(traces[0].activation_means) == {"0", "1", "2"}
    assert set(traces[0].activation_stds) == set(traces[0].dead_neuron_counts) == {"0", "1", "2"}


def test_a_trigger_that_forces_is_research_mode(spool: Spool) -> None:
    training = loop(spool, "standard", trigger=DenseTraceTrigger(force_dense=True))
    training.run(epochs=2).recorder.close()
    assert training.recorder.mode == "research"
    assert [trace.trigger_reason for trace in spool.traces()] == ["forced", "forced"]


def test_another_trigger_extends_the_window_and_names_a_reason_once(spool: Spool) -> None:
    training = loop(spool, "adaptive", 15, 38).run(epochs=5)
    assert training.recorder.recording
    training.run(epochs=3)
    (trace,) = spool.traces()
    assert trace.window_end_epoch == 7  # 3 after epoch 4, in which step 38 lies
    assert trace.trigger_reason == "loss_spike:5.0x"
    assert not training.recorder.recording
    assert hooks_of(training.model) == 0


def test_a_window_that_has_closed_lets_another_one_open(spool: Spool) -> None:
    loop(spool, "standard", 15, 75).run(epochs=12)
    first, second = spool.traces()
    assert (first.trigger_step, second.trigger_step) == (15, 75)
    assert steps(second) == list(range(76 - BATCHES_BEFORE, 111))


def test_what_an_epoch_s_snapshots_say_opens_a_window_too(spool: Spool) -> None:
    training = loop(spool, "standard")
    training.run(epochs=2, val_accuracy=70.0).run(epochs=1, val_accuracy=60.0)
    training.run(epochs=3, val_accuracy=60.0)
    (trace,) = spool.traces()
    assert trace.trigger_reason == "accuracy_drop:10.0"
    assert (trace.trigger_step, trace.window_end_epoch) == (30, 6)
    assert steps(trace) == list(range(1, 61))


def test_a_gate_that_failed_is_in_the_trace(spool: Spool) -> None:
    failed = SlotSnapshot(
        slot_id="mid",
        stage="TRAINING",
        epochs_in_stage=3,
        last_gate_attempted="G2",
        last_gate_passed=False,
        last_gate_reason="improvement 0.2 < 0.5",
    )
    with DenseRecorder(spool.emitter) as recorder:
        recorder.epoch(HostSnapshot(epoch=1), [failed], step=10)
    with DenseRecorder(spool.emitter) as recorder:
        gate = GateEvaluationTrace(gate="G2", slot_id="mid", checks_failed=["improvement"])
        recorder.epoch(HostSnapshot(epoch=1), [failed], step=10, gate=gate)
    derived, given = (trace.gate_evaluation_details for trace in spool.traces())
    assert derived == GateEvaluationTrace(
        gate="G2", slot_id="mid", passed=False, message="improvement 0.2 < 0.5"
    )
    assert given == gate


def test_a_loop_that_stops_at_a_loss_that_is_no_number_leaves_its_trace(spool: Spool) -> None:
    training = loop(spool, "standard")
    training.losses = lambda step: math.nan if step == 25 else 1.0

    def run() -> None:
        with training.recorder:
            training.run(epochs=2)
            for batch_idx in range(5):
                training.batch(batch_idx)
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        run()
    (trace,) = spool.traces()
    assert trace.trigger_reason == "loss_nonfinite"
    assert trace.trigger_step == 25
    assert math.isnan(trace.batch_metrics[24].loss or 0.0)
    assert spool.words()[-1] == ("closed", "loss_nonfinite")


@pytest.mark.parametrize("mode", MODES)
def test_a_long_window_goes_on_in_another_trace(spool: Spool, mode: Mode) -> None:
    recorder = DenseRecorder(spool.emitter, mode)
    total = 2 * BATCHES_PER_TRACE + 7
    for step in range(1, total + 1):
        loss = 9.0 if step == 3 else 1.0
        recorder.batch(step=step, epoch=1, batch_idx=step - 1, loss=loss)
    recorder.close()
    traces = spool.traces()
    assert [len(trace.batch_metrics) for trace in traces] == [BATCHES_PER_TRACE] * 2 + [7]
    assert [step for trace in traces for step in steps(trace)] == list(range(1, total + 1))
    assert traces[0].trigger_step == 3


def test_the_last_traces_are_kept_at_hand(spool: Spool) -> None:
    training = loop(spool, "research").run(epochs=TRACES_KEPT + 3)
    assert len(spool.traces()) == TRACES_KEPT + 3
    assert list(training.recorder.recent) == spool.traces()[3:]


@pytest.mark.parametrize("mode", MODES)
def test_a_loop_that_never_says_when_an_epoch_ends_is_told_by_its_batches(
    spool: Spool, mode: Mode
) -> None:
    training = loop(spool, mode, 15)
    training.recorder.epoch = lambda *args, **named: None  # type: ignore[method-assign]
    training.run(epochs=8).recorder.close()
    traces = spool.traces()
    if mode == "research":
        assert [len(trace.batch_metrics) for trace in traces] == [PER_EPOCH] * 8
    else:
        assert [(trace.window_start_epoch, trace.window_end_epoch) for trace in traces] == [(1, 5)]
    if mode == "standard":
        assert training.hooked == (16, 22, 32, 42)


def test_norms_that_the_loop_gives_stand_before_captured_ones(spool: Spool) -> None:
    recorder = DenseRecorder(spool.emitter, "research", model=nn.Linear(1, 1))
    recorder.batch(step=1, epoch=1, batch_idx=0, grad_norms={"adapter": 0.5, "lora": None})
    recorder.close()
    (trace,) = spool.traces()
    assert trace.batch_metrics[0].seed_grad_norms == {"adapter": 0.5, "lora": None}
    assert trace.batch_metrics[0].loss is None


@pytest.mark.parametrize("mode", ["standard", "adaptive"])
@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_resumed_recorder_goes_on_with_averages_and_window(
    spool: Spool, mode: Mode, stop: int, tmp_path: Path
) -> None:
    first = loop(spool, mode, 15)
    first.run(epochs=stop)
    state = json.loads(json.dumps(first.recorder.to_state(), allow_nan=False))
    resumed = loop(spool, mode, 15)
    resumed.step, resumed.epoch = first.step, first.epoch
    resumed.recorder.restore(state)
    assert resumed.recorder.recording == first.recorder.recording == (stop > 1)
    resumed.run(epochs=8 - stop)
    (trace,) = spool.traces()
    assert trace.trigger_step == 15
    assert trace.window_end_epoch == 5
    assert trace.window_end_step == 50
    whole = loop(spool, mode, 15).run(epochs=8)
    assert resumed.recorder.to_state() == whole.recorder.to_state()


def test_an_older_or_broken_state_is_no_obstacle(spool: Spool) -> None:
    recorder = DenseRecorder(spool.emitter)
    recorder.restore({})
    assert recorder.errors == 0
    recorder.restore({"window": {"unknown": 1}})
    assert recorder.errors == 1
    recorder.batch(step=1, epoch=1, batch_idx=0, loss=1.0)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_that_goes_wrong_reaches_training(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def snapshot(self, *given: Any, **named: Any) -> None:
            raise OSError("no")

        def trace(self, *given: Any, **named: Any) -> None:
            raise OSError("no")

    model = nn.Linear(3, 2)
    recorder = DenseRecorder(Broken(), mode, model=model)
    training = Loop(recorder, model, lambda step: 5.0 if step == 15 else 1.0)
    recorder.batch(step=0, epoch=1, batch_idx=0, loss="much")  # type: ignore[arg-type]
    training.run(epochs=6)
    recorder.close()
    assert recorder.errors > 1
    assert len(caplog.records) == 1
    assert hooks_of(model) == 0


def test_an_unknown_mode_is_refused(spool: Spool) -> None:
    with pytest.raises(ValueError, match="'dense'; valid: standard, adaptive, research"):
        DenseRecorder(spool.emitter, "dense")  # type: ignore[arg-type]


def test_importing_the_package_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, telemetry.dense; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
