"""One trial: a model is encoded, and its full decode measured against the original."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.contract import Result, Scores, TrialContext
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.files.source import SourceModel
from workloads.dtdr.measuring import Predictions, Reference, predictions
from workloads.dtdr.skeleton import weights_by_name
from workloads.dtdr.texts import Prompts, load_prompts
from workloads.errors import DivergedError, InputError
from workloads.models import load_model, resolve_model
from workloads.models.byte_tokens import tokenizer_of
from workloads.training.acceleration import accelerated
from workloads.training.monitoring import monitored, read_through
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.dtdr.files.encoding import EncodedModel

DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16"}
ENCODING: Final = "encoding"
"""The folder of a checkpoint that holds the encoded model."""


def run_trial(config: DtdrConfig, context: TrialContext) -> Result:
    """Encodes the model into a checkpoint, or takes up the one that there is, and measures it.

    Raises `DivergedError` if the original or its full decode predicts what is not finite.
    """
    if context.ranks > 1:
        raise InputError(f"dtdr is measured by one process, not {context.ranks}; ask for one rank")
    with deterministic_process(config.threads), accelerated("fp32") as accelerator:
        encoded, seconds = _encoded(config, context)
        ref = resolve_model(config.model)
        prompts = load_prompts(config, tokenizer_of(ref))
        model = load_model(ref, dtype=DTYPES[config.precision]).requires_grad_(False)
        model.to(accelerator.device)
        original = _predictions(config, model, prompts, "the original")
        put = _put_decoded(model, encoded, SourceModel.of(ref))
        decoded = _predictions(config, model, prompts, "the full decode")
        with monitored(config, context, model) as monitoring:
            if monitoring.active:
                read_through(monitoring, model, prompts.one_by_one())
        context.emitter.context(
            {
                "model": config.model,
                "parameters": int(model.num_parameters()),
                "tensors": put.tensors,
                "tied": len(encoded.tied),
            }
        )
        reference = Reference(original, prompts)
        values = reference.values(decoded)
        overlaps = [float(score) for score in reference.overlaps(decoded)]
        return Result(
            metrics={
                "bytes": float(put.bytes),
                "ratio": put.original_bytes / put.bytes,
                "relative_l2": put.relative_l2,
                "max_error": put.max_error,
                "cosine": values["cosine"],
                "top10_overlap": values["top10_overlap"],
                "perplexity": decoded.perplexity,
                "perplexity_original": original.perplexity,
                "prompts": float(len(prompts.units)),
                "held_out_tokens": float(prompts.held_out_tokens),
                "tensors": float(put.tensors),
                "plain_tensors": float(put.plain),
                "encode_s": seconds,
            },
            scores=[Scores("test", prompts.units, prompts.clusters, {"top10_overlap": overlaps})],
        )


def encoding_in(checkpoint: Path | None) -> EncodedModel:
    """The encoding that a trial kept. Raises `InputError` if it is gone."""
    from workloads.dtdr.files.encoding import EncodedModel

    if checkpoint is None or not (checkpoint / ENCODING).is_dir():
        raise InputError("the trial's encoding is in no checkpoint; run the trial again")
    return EncodedModel.open(checkpoint / ENCODING)


def _encoded(config: DtdrConfig, context: TrialContext) -> tuple[EncodedModel, float | None]:
    """The encoding, and how long it took if it was made now."""
    from workloads.dtdr.files.encoding import encode_model

    found = context.checkpoints.latest()
    if found is not None:
        return encoding_in(found.path), None
    began = time.perf_counter()
    with context.checkpoints.saving(1) as folder:
        encode_model(resolve_model(config.model), config.recipe, folder / ENCODING)
        seconds = time.perf_counter() - began
    kept = context.checkpoints.latest()
    assert kept is not None
    return encoding_in(kept.path), seconds


def _predictions(config: DtdrConfig, model: Any, prompts: Prompts, which: str) -> Predictions:
    found = predictions(model, prompts, config.eval_batch_size)
    broken = int((~found.finite).sum())
    if broken:
        raise DivergedError(f"{which} of {config.model}: logits of {broken} prompts are not finite")
    return found


@dataclass
class _Put:
    """What was decoded: counts, sizes in bytes, and its error over what was compressed."""

    tensors: int = 0
    plain: int = 0
    bytes: int = 0
    original_bytes: int = 0
    max_error: float = 0.0
    squares: float = 0.0
    norms: float = 0.0

    @property
    def relative_l2(self) -> float:
        """Norm of the error over that of the original."""
        return sqrt(self.squares / self.norms) if self.norms else 0.0

    def add(self, tensor: EncodedTensor, decoded: Tensor, original: Tensor | None) -> None:
        """`original` is None for a plain tensor, which has no error."""
        self.tensors += 1
        self.plain += tensor.plain
        self.bytes += tensor.bytes
        self.original_bytes += tensor.original_bytes
        if original is not None:
            wrong = decoded.double() - original.double()
            self.max_error = max(self.max_error, float(wrong.abs().max()))
            self.squares += float(wrong.square().sum())
            self.norms += float(original.double().square().sum())


def _put_decoded(model: Any, encoded: EncodedModel, source: SourceModel) -> _Put:
    """Puts the full decode in the place of the original's weights, each tensor read once. Errors
    are against the model's files, whatever it was loaded as."""
    assert encoded.index is not None
    shapes = {name: entry.shape for name, entry in encoded.index.tensors.items()}
    weights, put = weights_by_name(model, shapes, encoded.tied), _Put()
    for name, tensor in encoded.items():
        decoded = tensor.decoded()
        put.add(tensor, decoded, None if tensor.plain else source.tensor(name))
        if name in weights:
            weights[name].copy_(decoded)
    return put
