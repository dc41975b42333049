"""One trial: a model writes its chunks, and each is measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any, Final

from workloads.contract import Result, Scores, TrialContext
from workloads.errors import InputError
from workloads.models import load_model, load_tokenizer, resolve_model
from workloads.structural_health.inference.chunks import ChunkRow, write_chunks
from workloads.structural_health.inference.metrics import ZONE
from workloads.structural_health.inference.prompts import load_prompts
from workloads.structural_health.inference.regimes import REGIMES
from workloads.structural_health.inference.writing import Writing
from workloads.structural_health.inference_config import InferenceConfig
from workloads.training.acceleration import accelerated
from workloads.training.monitoring import Monitoring, monitored
from workloads.training.process import deterministic_process

_DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16"}


def run_trial(config: InferenceConfig, context: TrialContext) -> Result:
    """Writes and measures all chunks of a resolved configuration, from the newest checkpoint on.

    Raises `DivergedError` when logits are not finite.
    """
    if context.ranks > 1:
        raise InputError(
            f"structural_health_inference is measured by one process, not {context.ranks}; "
            "ask for one rank"
        )
    with deterministic_process(config.threads), accelerated("fp32") as accelerator:
        ref = resolve_model(config.model)
        tokenizer = load_tokenizer(ref)
        model: Any = load_model(ref, dtype=_DTYPES[config.precision]).requires_grad_(False)
        model.to(accelerator.device)
        prompts = load_prompts(config, context.seed, tokenizer)
        context.emitter.context(
            {
                "model": config.model,
                "parameters": int(model.num_parameters()),
                "prompts": [tokenizer.decode(ids) for ids in prompts[: _prompts(config)]],
            }
        )
        writing = Writing(config, model, tokenizer, prompts, context.seed)
        with monitored(config, context, model) as monitoring:
            _write_all(config, context, writing, monitoring)
    write_chunks(writing.rows, context.artifacts)
    return _result(writing.rows, writing.cut)


def _write_all(
    config: InferenceConfig, context: TrialContext, writing: Writing, monitoring: Monitoring
) -> None:
    assert config.steps is not None
    saved = context.checkpoints.latest()
    if saved is not None:
        writing.load(saved.path)
        monitoring.load(saved.path)
    while len(writing.rows) < config.steps:
        row = writing.write()
        context.emitter.metrics(
            {"chunk/entropy": row.entropy, "chunk/kappa": row.kappa}, step=row.step
        )
        monitoring.step(row.step, emit=True)
        every = config.checkpoint_steps
        due = bool(every) and row.step % every == 0 and row.step < config.steps
        if context.checkpoints.wanted() or due:
            with context.checkpoints.saving(row.step) as folder:
                writing.save(folder)
                monitoring.save(folder)


def _prompts(config: InferenceConfig) -> int:
    return REGIMES[config.regime].prompts


def _result(rows: Sequence[ChunkRow], cut: int) -> Result:
    kappas = [row.kappa for row in rows if row.kappa is not None]
    entropies = [row.entropy for row in rows]
    steps = [str(row.step) for row in rows]
    repeats = [row.repeats for row in rows if row.repeats is not None]
    same = [row.same_token for row in rows if row.same_token is not None]
    low, high = ZONE
    return Result(
        metrics={
            "median_kappa": median(kappas) if kappas else None,
            "mean_kappa": fmean(kappas) if kappas else None,
            "max_kappa": max(kappas, default=None),
            "zone_share": fmean(low <= one <= high for one in kappas) if kappas else None,
            "repeat_share": fmean(repeats) if repeats else None,
            "same_token_share": fmean(same) if same else None,
            "median_entropy": median(entropies),
            "mean_entropy": fmean(entropies),
            "chunks": float(len(rows)),
            "compared_chunks": float(len(kappas)),
            "cut_contexts": float(cut),
        },
        scores=[
            Scores(
                "steps",
                steps,
                steps,
                {
                    "entropy": entropies,
                    "kappa": [row.kappa for row in rows],
                    "repeats": [_number(row.repeats) for row in rows],
                    "same_token": [_number(row.same_token) for row in rows],
                },
            )
        ],
        notes=[f"{cut} of {len(rows)} contexts were cut to what the model reads"] if cut else [],
    )


def _number(truth: bool | None) -> float | None:
    return None if truth is None else float(truth)
