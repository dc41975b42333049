"""What monitors cost a training step of the embedded model, as the main study trains it.

Copies of one trial are trained in turn, step by step: without monitors twice, and with those that
are on by default. The two without say how far apart equal things come out on the machine as it is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from telemetry import Emitter, spool_path
from tests.benchmarks.measuring import tell
from workloads.contract import TrialContext
from workloads.latent_lora.config import LatentLoraConfig, LoraSettings
from workloads.recording import KeptCheckpoints, resolved

STEPS, WARM_UP = 120, 10
BATCH = 32
LIMIT = 0.02


class Training:
    """A trial of the main study, a training step at a time."""

    def __init__(self, config: LatentLoraConfig, context: TrialContext, accelerator: Any) -> None:
        from workloads.latent_lora.diagnostics import Diagnostics
        from workloads.latent_lora.inputs import load_inputs
        from workloads.latent_lora.pca import fit_pca, token_counts
        from workloads.latent_lora.prompts import pad_left
        from workloads.latent_lora.reader import Reader
        from workloads.latent_lora.training import Progress, Trainer

        inputs = load_inputs(config, accelerator.device)
        table = inputs.model.get_input_embeddings().weight
        counts = token_counts(*pad_left(inputs.train.prompts, inputs.train.pad), len(table))
        reader = Reader(inputs.model, fit_pca(table, counts, config.d_z), config, 0)
        self.trainer = Trainer(reader, inputs.train, context, accelerator, Diagnostics(context))
        self.batches = list(self.trainer._batches(Progress()))
        self.steps = 0
        self.observing: list[float] = []
        """Seconds of CPU time of each call of the monitors, their hooks apart."""

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within the block it can be trained."""
        from telemetry.dense import DenseRecorder

        trainer = self.trainer
        with (
            DenseRecorder(trainer.context.emitter, model=trainer.reader) as trainer.recorder,
            trainer._monitored() as trainer.monitoring,
        ):
            yield

    def step(self) -> tuple[float, float]:
        """Seconds that it took by the clock and of CPU time."""
        start, cpu = time.perf_counter(), time.process_time()
        assert self.trainer._step(self.batches[self.steps], self.steps) is not None
        self.steps += 1
        before = time.process_time()
        self.trainer._monitor(self.steps, lost=False)
        self.observing.append(time.process_time() - before)
        return time.perf_counter() - start, time.process_time() - cpu


def extra(spent: dict[str, list[tuple[float, float]]], name: str) -> tuple[float, float]:
    """Median share by which a step of `name` takes longer than the bare one beside it."""
    pairs = list(zip(spent[name], spent["bare"], strict=True))
    wall, cpu = (statistics.median(a[at] - b[at] for a, b in pairs) for at in (0, 1))
    step_wall, step_cpu = (statistics.median(b[at] for _, b in pairs) for at in (0, 1))
    return wall / step_wall, cpu / step_cpu


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_monitors_cost_two_percent_of_a_training_step(tmp_path: Path) -> None:
    from workloads.latent_lora.workload import LatentLora
    from workloads.training.acceleration import accelerated
    from workloads.training.process import deterministic_process

    fields = {
        "d_z": 16,
        "batch_size": BATCH,
        "answer_loss_prompts": 8,
        "samples": BATCH * (STEPS + WARM_UP),
        "epochs": 1,
        "test_questions": 4,
        "dev_questions": 4,
        "lora": LoraSettings(),
    }
    watched = ("svd_ratio", "effective_rank", "implied_cosine")
    arms: dict[str, tuple[str, ...]] = {"bare": (), "bare again": (), "monitored": watched}
    with deterministic_process(1), accelerated("fp32") as accelerator, ExitStack() as stack:
        made: dict[str, Training] = {}
        for name, monitors in arms.items():
            config = resolved(LatentLora(), {**fields, "monitors": monitors})
            assert isinstance(config, LatentLoraConfig)
            place = tmp_path / name
            (place / "artifacts").mkdir(parents=True)
            emitter = Emitter(spool_path(place, 0), trial=name, attempt=0)
            stack.callback(emitter.close)
            context = TrialContext(
                identity=name,
                label=name,
                seed=0,
                attempt=0,
                artifacts=place / "artifacts",
                emitter=emitter,
                checkpoints=KeptCheckpoints(place),
                report=lambda step, metrics: None,
            )
            made[name] = Training(config, context, accelerator)
            stack.enter_context(made[name].recorded())
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
        names = list(made)
        for number in range(STEPS + WARM_UP):
            for name in names[number % 3 :] + names[: number % 3]:
                took = made[name].step()
                if number >= WARM_UP:
                    spent[name].append(took)
    again, monitored = extra(spent, "bare again"), extra(spent, "monitored")
    step_ms = [1000 * statistics.median(each) for each in zip(*spent["bare"], strict=True)]
    tell(
        "monitors-overhead",
        {
            "step_ms": step_ms[0],
            "step_cpu_ms": step_ms[1],
            "extra_monitored": monitored,
            "extra_bare_again": again,
            "observe_ms": 1000 * statistics.median(made["monitored"].observing),
            "limit": LIMIT,
            "steps": STEPS,
            "monitors": ", ".join(watched),
        },
    )
    assert min(monitored) <= LIMIT
