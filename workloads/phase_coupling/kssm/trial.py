"""One trial: a model is trained from scratch, or tokens are counted, and test texts are read."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from workloads.contract import Result, Scores, TrialContext
from workloads.datasets import resolve_data
from workloads.errors import DivergedError
from workloads.models import resolve_model
from workloads.models.byte_tokens import tokenizer_of
from workloads.phase_coupling.kssm.columns import PHASES, STEP_COLUMNS, STEPS
from workloads.phase_coupling.kssm.counting import Counts
from workloads.phase_coupling.kssm.history import HISTORY
from workloads.phase_coupling.kssm.measuring import Reading, read_texts
from workloads.phase_coupling.kssm.model import KssmModel, make_model, parameters_of
from workloads.phase_coupling.kssm.oscillators import Oscillators
from workloads.phase_coupling.kssm.texts import Texts, load_texts
from workloads.phase_coupling.kssm.training import Trainer, batches
from workloads.phase_coupling.kssm_config import COUNTED, KssmConfig
from workloads.training import stream_seed
from workloads.training.acceleration import accelerated
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from accelerate import Accelerator

_BYTES: Final = 256


def run_trial(config: KssmConfig, context: TrialContext) -> Result:
    """Trains or counts, and measures.

    A trial whose loss or gradient was not finite is flagged `diverged`, and measured with the
    weights from before. Raises `DivergedError` where no test text has a finite cross-entropy.
    """
    with deterministic_process(config.threads):
        tokenizer = tokenizer_of(resolve_model(config.tokenizer))
        vocabulary = len(tokenizer) if hasattr(tokenizer, "__len__") else _BYTES
        texts = _texts(config, tokenizer)
        if config.variant in COUNTED:
            return _counted(config, context, texts, vocabulary)
        with accelerated(config.precision) as accelerator:
            return _trained(config, context, texts, vocabulary, accelerator)


def _texts(config: KssmConfig, tokenizer: Any) -> Texts:
    if resolve_data(config.data).kind != "embedded":
        return load_texts(config, tokenizer)
    content = resolve_model(config.tokenizer).fingerprint
    asked = config.data, config.tokens, config.train_texts, config.texts
    return _generated(config.tokenizer, content, *asked)


@lru_cache(maxsize=1)
def _generated(
    tokenizer: str, content: str, data: str, tokens: int, train_texts: int, texts: int
) -> Texts:
    """Texts that are generated are the same in every trial: a process makes them once, which takes
    seconds. `content` is the fingerprint of the tokenizer's model."""
    config = KssmConfig(
        tokenizer=tokenizer, data=data, tokens=tokens, train_texts=train_texts, texts=texts
    )
    return load_texts(config, tokenizer_of(resolve_model(tokenizer)))


def _counted(config: KssmConfig, context: TrialContext, texts: Texts, vocabulary: int) -> Result:
    """Counts over the batches that a model of this seed is trained on."""
    chosen = [at for batch in batches(len(texts.train), config, context.seed) for at in batch]
    counts = Counts(texts.train[np.array(chosen)], vocabulary, config.variant == "bigram")
    reading = Reading(counts.cross_entropy(texts.test), counts.entropy(texts.test))
    nothing = Scores(STEPS, (), (), dict.fromkeys(STEP_COLUMNS, ()))
    return Result(reading.metrics(), scores=[reading.scores(texts), nothing])


def _trained(
    config: KssmConfig,
    context: TrialContext,
    texts: Texts,
    vocabulary: int,
    accelerator: Accelerator,
) -> Result:
    model = make_model(config, vocabulary, context.seed)
    _describe(context, model, vocabulary, texts)
    trainer = Trainer(model, torch.from_numpy(texts.train), config, context, accelerator)
    started = time.perf_counter()
    diverged = trainer.run()
    seconds = time.perf_counter() - started
    with accelerator.autocast():
        reading = read_texts(
            accelerator.unwrap_model(trainer.model),
            texts,
            context.seed,
            config.eval_batch_size,
            accelerator.device,
        )
    if not np.isfinite(reading.ce).all(axis=1).any():
        raise DivergedError("no test text has a finite cross-entropy: the model gives no numbers")
    if accelerator.is_main_process:
        trainer.history.write(context.artifacts / HISTORY)
        (context.artifacts / PHASES).write_text(json.dumps(_phases(model, reading)) + "\n")
    notes = []
    if diverged:
        at = trainer.history.steps + 1
        notes.append(f"the loss or its gradient was not finite at step {at}: training ended there")
    return Result(
        {
            **reading.metrics(),
            **trainer.history.metrics(),
            **_noise(model),
            "parameters": float(parameters_of(model)),
            "train_seconds": seconds,
        },
        scores=[reading.scores(texts), trainer.history.scores()],
        flags=frozenset({"diverged"} if diverged else ()),
        notes=notes,
    )


def _cores(model: KssmModel) -> list[Oscillators]:
    return [module for module in model.modules() if isinstance(module, Oscillators)]


def _noise(model: KssmModel) -> dict[str, float]:
    spreads = [float(core.spread.detach()) for core in _cores(model)]
    return {"noise": sum(spreads) / len(spreads)} if spreads else {}


def _phases(model: KssmModel, reading: Reading) -> dict[str, Any]:
    """The learned angles of each block, [blocks][oscillators], and the histogram of R."""
    return {
        "phases": [core.phases.detach().cpu().tolist() for core in _cores(model)],
        "r_histogram": reading.histogram(),
    }


def _describe(context: TrialContext, model: KssmModel, vocabulary: int, texts: Texts) -> None:
    streams = ["order/0"]
    context.emitter.context(
        {
            "host_architecture": type(model).__name__,
            "host_params": parameters_of(model),
            "vocabulary": vocabulary,
            "train_texts": len(texts.train),
            "seeds": {name: stream_seed(context.seed, name) for name in streams},
            "streams_by_step": ["noise/<step>"] if _cores(model) else [],
        }
    )
