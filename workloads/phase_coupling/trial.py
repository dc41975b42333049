"""One trial: oscillators are drawn and joined to a model, trained if asked, and measured."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from workloads.contract import Result, Scores, TrialContext
from workloads.models import load_model, resolve_model
from workloads.models.byte_tokens import tokenizer_of
from workloads.phase_coupling.config import PhaseBlockSettings, PhaseCouplingConfig
from workloads.phase_coupling.coupling.survival import survival
from workloads.phase_coupling.interventions.kept import TRAJECTORIES, keep_scores
from workloads.phase_coupling.joining import draw_core, joined, measured_alone
from workloads.phase_coupling.measuring.figures import (
    Metrics,
    layer_figures,
    sample_figures,
    text_figures,
    with_survival,
)
from workloads.phase_coupling.measuring.phases import Beginnings
from workloads.phase_coupling.measuring.sampling import (
    Sample,
    sample_rows,
    sample_scores,
    sample_texts,
)
from workloads.phase_coupling.measuring.teacher_forcing import (
    ReadTexts,
    in_order,
    read_texts,
    trace_of_first,
)
from workloads.phase_coupling.measuring.texts import TestTexts, load_test_texts
from workloads.phase_coupling.metrics import DEAD_SITE, DEAD_WORDS
from workloads.phase_coupling.training.loop import Trained, train
from workloads.training import stream_seed
from workloads.training.acceleration import accelerated
from workloads.training.monitoring import monitored
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workloads.phase_coupling.coupling.attach import Coupling

MEASUREMENTS: Final = "measurements.jsonl"
"""A trial's sampled texts among its artifacts, one JSON object each."""
_DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16"}


def run_trial(config: PhaseCouplingConfig, context: TrialContext) -> Result:
    """Trains where `training.steps` asks for it, then measures texts, samples and layers.

    Ranks share the training; the first one measures, and the others give no result. Raises
    `DivergedError` where what the model predicts is not finite.
    """
    with deterministic_process(config.threads), accelerated(config.precision) as accelerator:
        return _Trial(config, context, accelerator).run()


class _Trial:
    """The state that the parts of one trial share."""

    def __init__(
        self, config: PhaseCouplingConfig, context: TrialContext, accelerator: Accelerator
    ) -> None:
        self.config, self.context, self.accelerator = config, context, accelerator
        ref = resolve_model(config.model)
        self.tokenizer = tokenizer_of(ref)
        self.texts = load_test_texts(config, self.tokenizer)
        # Weights that are trained stay in full precision; autocast rounds what they are used for.
        whole = config.training.steps and config.training.trains == "all"
        dtype = _DTYPES["fp32" if whole else config.precision]
        self.model: Any = load_model(ref, dtype=dtype, device=accelerator.device)
        self.model.requires_grad_(False)
        self.core = draw_core(config, self.model, context.seed)
        self.beginnings = Beginnings(config, context.seed)

    def run(self) -> Result:
        self._describe()
        started = time.perf_counter()
        trained = self._train()
        train_seconds = time.perf_counter() - started if self.config.training.steps else None
        if self.context.rank:
            return Result({})
        with self.accelerator.autocast(), measured_alone(self.core):
            result = self._measure(trained)
        return Result(
            {**result.metrics, **trained.history.metrics(), "train_seconds": train_seconds},
            scores=result.scores,
            flags=result.flags | ({"diverged"} if trained.diverged else frozenset()),
            notes=result.notes,
        )

    def _train(self) -> Trained:
        with self._joined() as coupling:
            return train(
                self.model,
                self.core,
                coupling,
                self.config,
                self.context,
                self.accelerator,
                self.tokenizer,
            )

    def _measure(self, trained: Trained) -> Result:
        """Each part begins its phases anew, also where they are carried from text to text."""
        texts = in_order(self.texts, self.beginnings)
        read, phases = self._read(texts)
        layers = self._layers(texts)
        started = time.perf_counter()
        samples, uncoupled = self._samples()
        seconds = time.perf_counter() - started if samples else None
        scores = [
            read.scores(),
            sample_scores(samples),
            layers,
            trained.history.scores(),
        ]
        self._keep(scores, read, phases, samples)
        metrics: Metrics = {
            **text_figures(read),
            **sample_figures(self.config, samples, uncoupled),
            **layer_figures(layers),
            "core_parameters": float(_count(self.core)),
            "sample_seconds": seconds,
        }
        dead = self._dead(metrics)
        return Result(
            metrics,
            scores=scores,
            flags=frozenset({DEAD_SITE} if dead else ()),
            notes=[*([self._dead_note()] if dead else []), *self._notes(metrics)],
        )

    def _read(self, texts: TestTexts) -> tuple[ReadTexts, np.ndarray[Any, Any] | None]:
        with self._driven() as coupling:
            read = read_texts(self.model, coupling, texts, self.beginnings)
        with self._driven() as coupling:
            phases = trace_of_first(self.model, coupling, texts, self.beginnings)
            if not self.config.training.steps:
                self._watch(coupling, texts)
        return read, phases

    def _watch(self, coupling: Coupling, texts: TestTexts) -> None:
        """Monitors of a model that is not trained look at it as it reads, text by text."""
        with monitored(self.config, self.context, self.model) as monitoring, torch.no_grad():
            rows = zip(texts.units, texts.ids, strict=True) if monitoring.active else ()
            for number, (unit, row) in enumerate(rows, 1):
                self.beginnings.begin(coupling, [unit])
                ids = torch.from_numpy(row[None]).to(self.model.device)
                self.model(input_ids=ids, use_cache=False)
                monitoring.step(number, emit=True)

    def _layers(self, texts: TestTexts) -> Scores:
        size = self.beginnings.batch_size(self.config.eval_batch_size)
        batches = list(texts.batches(size))
        with self._driven() as coupling:
            found = survival(
                self.model,
                coupling,
                ((torch.from_numpy(ids).to(self.model.device), None) for _, ids in batches),
                begin=lambda index, _rows: self.beginnings.begin(coupling, batches[index][0]),
            )
        return with_survival(found)

    def _samples(self) -> tuple[list[Sample], list[Sample]]:
        """With the oscillators, and without them."""
        with self._joined() as coupling:
            samples = sample_texts(self.model, coupling, self.texts, self.beginnings)
            if self.config.mode == "off":
                return samples, samples
        with self._joined() as coupling, coupling.paused():
            return samples, sample_texts(self.model, coupling, self.texts, self.beginnings)

    def _keep(
        self,
        scores: list[Scores],
        read: ReadTexts,
        phases: np.ndarray[Any, Any] | None,
        samples: list[Sample],
    ) -> None:
        folder = self.context.artifacts
        keep_scores(scores, folder)
        settings = {"mode": self.config.mode, "temperature": self.config.temperature}
        if samples:
            rows = sample_rows(samples, self.tokenizer, self.texts, settings)
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / MEASUREMENTS).write_text("".join(lines), encoding="utf-8")
        arrays = {}
        if read.r is not None:
            arrays["texts_r"] = read.r
        if samples and samples[0].r is not None:
            arrays["samples_r"] = np.array([one.r for one in samples])
        if phases is not None:
            arrays["phases"] = phases
        if arrays:
            np.savez_compressed(folder / TRAJECTORIES, allow_pickle=False, **arrays)

    def _joined(self) -> Coupling:
        return joined(self.config, self.model, self.core)

    def _driven(self) -> Coupling:
        """For reading texts: by their tokens, or by the mean of these at every token."""
        coupling = self._joined()
        coupling.drive("constant" if self.config.driven_by == "constant" else "text")
        return coupling

    def _describe(self) -> None:
        seed = self.context.seed
        self.context.emitter.context(
            {
                "model": self.config.model,
                "host_architecture": type(self.model).__name__,
                "host_params": int(self.model.num_parameters()),
                "core_parameters": _count(self.core),
                "device": str(self.accelerator.device),
                "seeds": {} if self.core is None else {"core": stream_seed(seed, "core")},
                "streams_by_text": ["sample/<prompt>/<number>", "phases/<text>", "shuffle/<text>"],
            }
        )

    def _dead(self, metrics: Metrics) -> bool:
        """Whether oscillators that act change no logit, to the last bit."""
        config = self.config
        acts = isinstance(config.core, PhaseBlockSettings) or config.strength > 0
        return config.mode == "modulate" and acts and metrics["logits_relative_change"] == 0

    def _dead_note(self) -> str:
        site, block = self.config.site, self.config.layer
        place = f"{site} of block {block}" if site != "logits" else site
        return f"{DEAD_WORDS} (at {place} of {self.config.model})"

    def _notes(self, metrics: Metrics) -> list[str]:
        notes = []
        target, achieved = metrics["target_r"], metrics["achieved_r"]
        if target is not None and achieved is not None and abs(target - achieved) > 0.01:
            notes.append(f"R was {achieved:.3f} while sampling, and {target:g} was asked for")
        return notes


def _count(core: Any | None) -> int:
    return 0 if core is None else sum(each.numel() for each in core.parameters())
