"""Texts that a coupled model writes, and what can be said of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workloads.contract import Scores
from workloads.errors import DivergedError
from workloads.models.decoding import Decoder
from workloads.phase_coupling.measuring.keyed_noise import KeyedNoise, drawn_tokens
from workloads.phase_coupling.measuring.phases import Beginnings
from workloads.phase_coupling.measuring.text_metrics import agreement, distinct, repetition
from workloads.phase_coupling.measuring.texts import TestTexts

if TYPE_CHECKING:
    from workloads.phase_coupling.coupling.attach import Coupling


@dataclass(frozen=True)
class Sample:
    """A continuation of a prompt.

    Attributes:
        tokens: ids that were written, without the prompt.
        entropy: normalised entropy of what each was drawn from, before the temperature.
        r: order parameter where each was drawn; None without oscillators.
    """

    prompt: str
    number: int
    tokens: tuple[int, ...]
    entropy: tuple[float, ...]
    r: tuple[float, ...] | None

    @property
    def unit(self) -> str:
        """`<prompt id>/<number>`."""
        return f"{self.prompt}/{self.number}"


def sample_scores(samples: Sequence[Sample]) -> Scores:
    """A row per sample; the cluster is the prompt."""
    return Scores(
        "samples",
        [one.unit for one in samples],
        [one.prompt for one in samples],
        {
            "entropy": [fmean(one.entropy) for one in samples],
            "distinct_1": [distinct(one.tokens, 1) for one in samples],
            "distinct_2": [distinct(one.tokens, 2) for one in samples],
            "distinct_3": [distinct(one.tokens, 3) for one in samples],
            "repetition": [repetition(one.tokens) for one in samples],
            "r_mean": [None if one.r is None else fmean(one.r) for one in samples],
            "r_min": [None if one.r is None else min(one.r) for one in samples],
            "r_max": [None if one.r is None else max(one.r) for one in samples],
        },
    )


@torch.no_grad()
def sample_texts(
    model: Any, coupling: Coupling, texts: TestTexts, beginnings: Beginnings
) -> list[Sample]:
    """`config.samples` continuations of every prompt, with noise by seed, prompt, sample and token.

    Empty without prompts. Raises `DivergedError` where a prediction is not finite.
    """
    config = beginnings.config
    asked = [
        (unit, number, row)
        for unit, row in zip(texts.prompt_units, texts.prompts, strict=True)
        for number in range(config.samples)
    ]
    size, found = beginnings.batch_size(config.eval_batch_size), list[Sample]()
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        found += _written(Decoder(model), model.device, coupling, batch, beginnings)
    return found


def parting(samples: Sequence[Sample], others: Sequence[Sample]) -> tuple[float, float]:
    """Tokens until texts part, mean over samples, and the share of texts that never do."""
    pairs = list(zip(samples, others, strict=True))
    tokens = [agreement(one.tokens, other.tokens) for one, other in pairs]
    return fmean(tokens), fmean(one.tokens == other.tokens for one, other in pairs)


def sample_rows(
    samples: Sequence[Sample], tokenizer: Any, texts: TestTexts, settings: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """What is kept of each sample, as plain data; `settings` are the same in all."""
    prompts = {
        unit: tokenizer.decode(row.tolist(), skip_special_tokens=True)
        for unit, row in zip(texts.prompt_units, texts.prompts, strict=True)
    }
    for one in samples:
        yield {
            "sample": one.number,
            **settings,
            "prompt_id": one.prompt,
            "prompt": prompts[one.prompt],
            "text": tokenizer.decode(list(one.tokens), skip_special_tokens=True),
            "R_mean": None if one.r is None else fmean(one.r),
            "R_min": None if one.r is None else min(one.r),
            "R_max": None if one.r is None else max(one.r),
            "tokens_generated": len(one.tokens),
        }


def _written(
    decoder: Decoder,
    device: torch.device,
    coupling: Coupling,
    batch: Sequence[tuple[str, int, Any]],
    beginnings: Beginnings,
) -> Iterator[Sample]:
    config = beginnings.config
    keys = [f"{unit}/{number}" for unit, number, _ in batch]
    prompt = torch.from_numpy(np.stack([row for _, _, row in batch])).to(device)
    beginnings.begin(coupling, keys)
    logits = decoder.read(prompt)[:, -1]
    noise = KeyedNoise(beginnings.seed, keys, logits.shape[-1])
    tokens, entropies = list[Tensor](), list[Tensor]()
    for at in range(config.sample_tokens):
        if not bool(logits.isfinite().all()):
            raise DivergedError(f"{config.model}: what token {at + 1} is drawn from is not finite")
        entropies.append(_entropy(logits))
        tokens.append(drawn_tokens(logits, noise.next(), config.temperature))
        if at + 1 < config.sample_tokens:
            logits = decoder.step(tokens[-1])
    written, entropy = torch.stack(tokens, 1).tolist(), torch.stack(entropies, 1).tolist()
    read = coupling.collect()
    # The token after the prompt is drawn where the prompt's last token was read.
    r = None if read is None else read[:, prompt.shape[1] - 1 :].double().cpu().tolist()
    for row, (unit, number, _) in enumerate(batch):
        yield Sample(
            unit,
            number,
            tuple(written[row]),
            tuple(entropy[row]),
            None if r is None else tuple(r[row]),
        )


def _entropy(logits: Tensor) -> Tensor:
    """[texts]: of the next token, over its largest value."""
    log_p = torch.log_softmax(logits.double(), dim=-1)
    p = log_p.exp()
    return (-(p * log_p.where(p > 0, 0.0)).sum(-1) / log(p.shape[-1])).cpu()
