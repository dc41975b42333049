"""One trial: a model writes its chunks, and each is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Any, Final

from workloads.contract import Result, Scores, TrialContext
from workloads.models import load_model, load_tokenizer, resolve_model
from workloads.structural_health.inference.checking import context_limit
from workloads.structural_health.inference.chunks import ChunkRow, write_chunks
from workloads.structural_health.inference.generating import (
    Choose,
    Chunk,
    end_tokens,
    greedy,
    sampling,
    write_chunk,
)
from workloads.structural_health.inference.metrics import ZONE
from workloads.structural_health.inference.prompts import load_prompts
from workloads.structural_health.inference.regimes import REGIMES
from workloads.structural_health.inference.state import consistency, entropy
from workloads.structural_health.inference_config import InferenceConfig
from workloads.training.acceleration import accelerated
from workloads.training.monitoring import monitored
from workloads.training.process import deterministic_process
from workloads.training.streams import generator

_DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16"}


def run_trial(config: InferenceConfig, context: TrialContext) -> Result:
    """Writes and measures all chunks of a resolved configuration.

    Raises `DivergedError` when logits are not finite.
    """
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
        writing = _Writing(config, model, tokenizer, prompts, context.seed)
        rows = []
        with monitored(config, context, model) as monitoring:
            for row in writing.rows():
                context.emitter.metrics(
                    {"chunk/entropy": row.entropy, "chunk/kappa": row.kappa}, step=row.step
                )
                monitoring.step(row.step, emit=True)
                rows.append(row)
    if context.rank == 0:
        write_chunks(rows, context.artifacts)
    return _result(rows, writing.cut)


def _prompts(config: InferenceConfig) -> int:
    return REGIMES[config.regime].prompts


class _Writing:
    """A model that writes; `cut` counts the chunks before which old tokens were dropped."""

    def __init__(
        self,
        config: InferenceConfig,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[Sequence[int]],
        seed: int,
    ) -> None:
        self._config, self._model, self._tokenizer = config, model, tokenizer
        self._regime = REGIMES[config.regime]
        self._prompts = [list(ids) for ids in prompts[: self._regime.prompts]]
        self._choose: Choose = greedy
        if self._regime.sampled:
            drawn = generator(seed, "sampling")
            self._choose = sampling(drawn, config.temperature, config.top_p)
        self._ends = end_tokens(model)
        self.cut = 0

    def rows(self) -> Iterator[ChunkRow]:
        """The chunks, as they are written."""
        config, regime = self._config, self._regime
        assert config.steps is not None
        assert config.chunk_tokens is not None
        limit = context_limit(self._model.config.to_dict())
        read = list(self._prompts[0])
        before: Chunk | None = None
        for step in range(1, config.steps + 1):
            if not regime.appends:
                read = list(self._prompts[(step - 1) % len(self._prompts)])
            if limit is not None and len(read) + config.chunk_tokens > limit:
                read = read[len(read) + config.chunk_tokens - limit :]
                self.cut += 1
            chunk = write_chunk(self._model, read, config.chunk_tokens, self._choose, self._ends)
            kappa = None if before is None else consistency(chunk.hidden, before.hidden)
            yield ChunkRow(
                regime.tag,
                step,
                entropy(chunk.logits),
                kappa,
                self._tokenizer.decode(chunk.ids, skip_special_tokens=True),
                repeats=None if before is None else chunk.ids == before.ids,
                same_token=None if before is None else chunk.last_read == before.last_read,
            )
            before = chunk if regime.compares else None
            read += chunk.ids


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
