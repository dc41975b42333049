"""What a coupled model predicts of fixed texts, beside what it predicts uncoupled."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workloads.contract import Scores
from workloads.errors import DivergedError
from workloads.phase_coupling.measuring.phases import Beginnings
from workloads.phase_coupling.measuring.text_metrics import lag_one
from workloads.phase_coupling.measuring.texts import TestTexts
from workloads.training import generator

if TYPE_CHECKING:
    from workloads.phase_coupling.coupling.attach import Coupling


@dataclass
class ReadTexts:
    """What was measured of the texts, in their order.

    Attributes:
        kl, entropy: [texts, tokens]; KL(uncoupled || coupled) of the next token in nats, and the
            normalised entropy of the coupled one's.
        ce: [texts, tokens - 1], nats.
        r: [texts, tokens]; None without oscillators.
    """

    texts: TestTexts
    kl: np.ndarray[Any, Any]
    entropy: np.ndarray[Any, Any]
    ce: np.ndarray[Any, Any]
    r: np.ndarray[Any, Any] | None

    def scores(self) -> Scores:
        """A row per text."""
        absent = [None] * len(self.texts.units)
        return Scores(
            "texts",
            self.texts.units,
            self.texts.clusters,
            {
                "kl": _means(self.kl),
                "entropy": _means(self.entropy),
                "ce": _means(self.ce),
                "r_mean": absent if self.r is None else _means(self.r),
                "r_sd": absent if self.r is None else [float(sd) for sd in self.r.std(axis=1)],
                "r_lag1": absent if self.r is None else [lag_one(row) for row in self.r],
            },
        )


@dataclass
class _Rows:
    kl: list[Tensor] = field(default_factory=list)
    entropy: list[Tensor] = field(default_factory=list)
    ce: list[Tensor] = field(default_factory=list)
    r: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def read_texts(
    model: Any, coupling: Coupling, texts: TestTexts, beginnings: Beginnings
) -> ReadTexts:
    """Reads every text twice, coupled and uncoupled (once where there is nothing to couple).

    Raises `DivergedError` where a prediction is not finite.
    """
    config, rows = beginnings.config, _Rows()
    size = beginnings.batch_size(config.eval_batch_size)
    for units, given in texts.batches(size):
        ids = torch.from_numpy(given).to(model.device)
        beginnings.begin(coupling, units)
        coupled = model(input_ids=ids, use_cache=False).logits
        if coupling.r is not None:
            rows.r.append(coupling.r.detach().cpu())
        uncoupled = coupled
        if config.mode != "off":
            with coupling.paused():
                uncoupled = model(input_ids=ids, use_cache=False).logits
        for row in zip(coupled, uncoupled, ids, strict=True):  # of a large vocabulary few fit
            _measure(rows, *row)
    for name, values in (("cross-entropies", rows.ce), ("divergences", rows.kl)):
        broken = sum(not bool(value.isfinite().all()) for value in values)
        if broken:
            raise DivergedError(f"{config.model}: {name} of {broken} texts are not finite")
    return ReadTexts(
        texts,
        torch.stack(rows.kl).numpy(),
        torch.stack(rows.entropy).numpy(),
        torch.stack(rows.ce).numpy(),
        torch.cat(rows.r).double().numpy() if rows.r else None,
    )


@torch.no_grad()
def trace_of_first(
    model: Any, coupling: Coupling, texts: TestTexts, beginnings: Beginnings
) -> np.ndarray[Any, Any] | None:
    """Phases [tokens, oscillators] while the first text is read; None without oscillators."""
    if coupling.core is None:
        return None
    traces = list[Tensor]()
    hooks = (
        coupling.core.register_forward_pre_hook(
            lambda _core, args, options: (args, {**options, "keep_trace": True}), with_kwargs=True
        ),
        coupling.core.register_forward_hook(lambda _core, _args, out: traces.append(out.trace)),
    )
    try:
        beginnings.begin(coupling, texts.units[:1])
        model(input_ids=torch.from_numpy(texts.ids[:1]).to(model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    phases: np.ndarray[Any, Any] = traces[0][0].double().cpu().numpy()
    return phases


def in_order(texts: TestTexts, beginnings: Beginnings) -> TestTexts:
    """The texts as they are read: their own tokens, or these in an order that is drawn by text.

    The first token stays: models that begin a text with a token of its own know no other place.
    """
    if beginnings.config.driven_by != "shuffled":
        return texts
    ids = texts.ids.copy()
    for row, unit in zip(ids, texts.units, strict=True):
        stream = generator(beginnings.seed, f"shuffle/{unit}")
        order = torch.randperm(len(row) - 1, generator=stream).numpy()
        row[1:] = row[1:][order]
    return TestTexts(ids, texts.units, texts.clusters, texts.prompts, texts.prompt_units)


def _measure(rows: _Rows, coupled: Tensor, uncoupled: Tensor, ids: Tensor) -> None:
    """One text: logits [tokens, vocabulary]."""
    log_p = torch.log_softmax(uncoupled.double(), dim=-1)
    same = uncoupled is coupled or torch.equal(uncoupled, coupled)
    log_q = log_p if same else torch.log_softmax(coupled.double(), dim=-1)
    q = log_q.exp()
    # Where q is 0, its logarithm may be minus infinity; 0 log 0 is 0.
    entropy = -(q * log_q.where(q > 0, 0.0)).sum(-1) / log(q.shape[-1])
    kl = torch.zeros_like(entropy) if same else (log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0)
    ce = -log_q[:-1].gather(-1, ids[1:, None]).squeeze(-1)
    rows.kl.append(kl.cpu())
    rows.entropy.append(entropy.cpu())
    rows.ce.append(ce.cpu())


def _means(values: np.ndarray[Any, Any]) -> list[float]:
    return [float(value) for value in values.mean(axis=1)]
