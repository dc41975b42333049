"""One trial: the whole model is measured, once its adapters are trained where it has any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from workloads.ablation.adapters import saved_adapters, train_adapters, with_adapters
from workloads.ablation.config import AblationConfig
from workloads.ablation.packing import packed_model, unpacked_model
from workloads.ablation.subject import AblationSubject
from workloads.ablation.texts import Texts, load_texts
from workloads.contract import Result, Scores, TrialContext
from workloads.errors import DivergedError, InputError
from workloads.models import load_model, load_tokenizer, resolve_model
from workloads.switching import CoalitionScores
from workloads.training.acceleration import accelerated
from workloads.training.monitoring import monitored, read_through
from workloads.training.process import deterministic_process

_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def run_trial(config: AblationConfig, context: TrialContext) -> Result:
    """Trains adapters (units=lora), measures the whole model on the test split.

    Raises `DivergedError` when training diverges or a prediction is not finite.
    """
    with deterministic_process(config.threads), accelerated("fp32") as accelerator:
        model, train, test = _loaded(config, context.seed)
        model.to(accelerator.device)
        context.emitter.context(
            {
                "model": config.model,
                "parameters": int(model.num_parameters()),
                "texts": len(test.units),
                "scored_tokens": int(test.scored.sum()),
            }
        )
        loss = None
        with monitored(config, context, model) as monitoring:
            if config.lora is not None:
                lora = config.lora
                loss = train_adapters(model, lora, train, context, accelerator, monitoring)
            elif monitoring.active:
                read_through(monitoring, model, test.one_by_one())
        return _result(AblationSubject(config, model, test), test, loss)


def packed_subject(config: AblationConfig, checkpoint: Path | None) -> dict[str, Any]:
    """Model and texts as arrays. Raises `InputError` if adapters are asked for without a
    checkpoint that holds them."""
    model, _, test = _loaded(config, seed=0)
    if config.lora is not None:
        if checkpoint is None:
            raise InputError("the trial's adapters are in no checkpoint; run it again")
        for name, weight in saved_adapters(checkpoint).items():
            model.get_parameter(name).data.copy_(weight)
    return {"model": packed_model(model), "texts": test.packed()}


def opened_subject(config: AblationConfig, packed: Any) -> AblationSubject:
    """The subject from what `packed_subject` gave, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = unpacked_model(packed["model"], config.lora, device)
    return AblationSubject(config, model, Texts.unpacked(packed["texts"]))


def _loaded(config: AblationConfig, seed: int) -> tuple[Any, Texts, Texts]:
    ref = resolve_model(config.model)
    model = load_model(ref, dtype=_DTYPES[config.precision]).requires_grad_(False)
    if config.lora is not None:
        with_adapters(model, config.lora, seed)
    return model, *load_texts(config, load_tokenizer(ref))


def _result(subject: AblationSubject, test: Texts, loss: float | None) -> Result:
    every = frozenset(subject.factors())
    whole, none = subject.scores([every, frozenset()])
    if whole.scores is None or whole.losses is None:
        raise DivergedError(f"the whole model cannot be measured: {whole.error}")
    columns = {"accuracy": whole.scores, "nll": whole.losses}
    return Result(
        metrics={
            "accuracy": _mean(whole, "scores"),
            "nll": _mean(whole, "losses"),
            "accuracy_all_off": _mean(none, "scores"),
            "nll_all_off": _mean(none, "losses"),
            "texts": float(len(test.units)),
            "scored_tokens": float(test.scored.sum()),
            "switches": float(len(every)),
            "final_loss": loss,
        },
        scores=[
            Scores(
                "test",
                test.units,
                test.clusters,
                {name: [float(score) for score in column] for name, column in columns.items()},
            )
        ],
        notes=[f"all off could not be measured: {none.error}"] if none.error else [],
    )


def _mean(found: CoalitionScores, what: str) -> float | None:
    values = getattr(found, what)
    return None if values is None else float(np.mean(values, dtype=np.float64))
