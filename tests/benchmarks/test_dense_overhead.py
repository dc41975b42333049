"""What dense recording costs a training loop whose step takes about 10 ms.

Copies of one model are trained in turn, step by step: bare twice, with hooks taken off again, and
recorded. The two bare ones say how far apart equal things come out on the machine as it is. A limit
is held against the clock or, on a busy machine, against CPU time.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch
from torch import nn

from telemetry import Emitter, spool_path
from telemetry.contracts import HostSnapshot
from telemetry.dense import DenseCapture, DenseRecorder, Mode
from tests.benchmarks.measuring import tell
from workloads.training.process import deterministic_process

EPOCHS, STEPS = 12, 50
STEP_S = 0.010
STANDARD_LIMIT, RESEARCH_LIMIT = 0.02, 0.15


def convolutions() -> nn.Module:
    """Three blocks, 24 to 96 channels, on images of 16 × 16."""
    blocks: list[nn.Module] = []
    for inner, outer in ((3, 24), (24, 48), (48, 96)):
        convolution = nn.Conv2d(inner, outer, 3, padding=1)
        blocks += [convolution, nn.BatchNorm2d(outer), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(96 * 4, 10))


class Training:
    """A small network, trained on noise a step at a time, and recorded if it has a recorder."""

    def __init__(self, batch: int) -> None:
        torch.manual_seed(0)
        self.model = convolutions()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.inputs = torch.randn(batch, 3, 16, 16)
        self.labels = torch.randint(0, 10, (batch,))
        self.recorder: DenseRecorder | None = None
        self.steps = 0

    def step(self) -> tuple[float, float]:
        """Seconds that it took by the clock and of CPU time, with what was recorded of it."""
        start, cpu = time.perf_counter(), time.process_time()
        loss = nn.functional.cross_entropy(self.model(self.inputs), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        value, norm_value = float(loss.detach()), float(norm)
        self.steps += 1
        if self.recorder is not None:
            epoch, batch_idx = divmod(self.steps - 1, STEPS)
            self.recorder.batch(
                step=self.steps,
                epoch=epoch + 1,
                batch_idx=batch_idx,
                loss=value,
                grad_norm=norm_value,
            )
            if batch_idx == STEPS - 1:
                host = HostSnapshot(epoch=epoch + 1, train_loss=value)
                self.recorder.epoch(host, step=self.steps)
        return time.perf_counter() - start, time.process_time() - cpu


def batch_of_about(step_s: float) -> int:
    """How many images a step of this length has on this machine, by a line through two sizes."""
    few, many = 2, 32
    short, long = (
        statistics.median([probe.step()[1] for _ in range(25)][5:])
        for probe in (Training(few), Training(many))
    )
    return max(1, round(few + (many - few) * (step_s - short) / (long - short)))


Epochs = dict[str, list[tuple[float, float]]]


def in_turn(made: dict[str, Training]) -> Epochs:
    """What each epoch of each training took; which of them goes first moves on every step."""
    for training in made.values():
        for _ in range(STEPS):
            training.step()
    epochs: Epochs = {name: [] for name in made}
    names = list(made)
    for _ in range(EPOCHS):
        spent: Epochs = {name: [] for name in names}
        for number in range(STEPS):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                spent[name].append(made[name].step())
        for name in names:
            wall, cpu = zip(*spent[name], strict=True)
            epochs[name].append((sum(wall), sum(cpu)))
    return epochs


def extra(epochs: Epochs, name: str, base: str = "bare") -> tuple[float, float]:
    """Median share by which an epoch of `name` takes longer than the one of `base` beside it.

    By the clock, and of CPU time.
    """
    pairs = list(zip(epochs[name], epochs[base], strict=True))
    wall, cpu = (
        statistics.median(one[clock] / other[clock] for one, other in pairs) - 1 for clock in (0, 1)
    )
    return wall, cpu


def test_standard_mode_costs_two_percent_of_a_step_and_research_fifteen(tmp_path: Path) -> None:
    modes: tuple[Mode, ...] = ("standard", "research")
    with deterministic_process(1):
        batch = batch_of_about(STEP_S)
        made = {name: Training(batch) for name in ("bare", "bare again", "hooks off", *modes)}
        capture = DenseCapture(made["hooks off"].model)
        capture.install()
        capture.remove()
        emitters = []
        for mode in modes:
            path = spool_path(tmp_path / mode, 0)
            emitters.append(Emitter(path, trial="bench", attempt=0))
            model = made[mode].model
            made[mode].recorder = DenseRecorder(emitters[-1], mode, model=model)
        epochs = in_turn(made)
        for emitter in emitters:
            emitter.close()
    recorders = [made[mode].recorder for mode in modes]
    assert all(recorder is not None and recorder.errors == 0 for recorder in recorders)
    again = extra(epochs, "bare again")
    measured = {name: extra(epochs, name) for name in ("hooks off", *modes)}
    step_ms = [1000 * statistics.median(each) / STEPS for each in zip(*epochs["bare"], strict=True)]
    tell(
        "dense-overhead",
        {
            "step_ms": step_ms[0],
            "step_cpu_ms": step_ms[1],
            "images": batch,
            "parameters": sum(p.numel() for p in made["bare"].model.parameters()),
            "extra_standard": measured["standard"],
            "extra_research": measured["research"],
            "extra_hooks_off": measured["hooks off"],
            "extra_bare_again": again,
            "limit_standard": STANDARD_LIMIT,
            "limit_research": RESEARCH_LIMIT,
            "epochs": EPOCHS,
            "steps_an_epoch": STEPS,
        },
    )
    noise = max(map(abs, again))
    assert min(measured["standard"]) <= STANDARD_LIMIT
    assert min(measured["research"]) <= RESEARCH_LIMIT
    assert min(measured["hooks off"]) <= 0.005 + noise, "hooks that are off can be measured"
