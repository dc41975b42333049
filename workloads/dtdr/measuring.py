"""What a model predicts after each prompt and for the tokens that follow, against a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from workloads.dtdr.metrics import cosine, divergence, mean_error, membership, overlap
from workloads.dtdr.texts import Prompts

LIKELIEST: Final = 10
_LARGEST_EXPONENT: Final = 700.0


@dataclass(frozen=True)
class Predictions:
    """Of one model.

    Attributes:
        last: [prompts, vocabulary] float32 logits after each prompt.
        nll: [prompts] float64, mean negative log-likelihood of its held-out tokens, nats.
    """

    last: Tensor
    nll: Tensor

    @property
    def finite(self) -> Tensor:
        """[prompts] whether all that was predicted for a prompt is finite."""
        return self.last.isfinite().all(-1) & self.nll.isfinite()

    @property
    def finite_share(self) -> float:
        """Share of finite logits, 0..1."""
        return float(self.last.isfinite().double().mean())

    @property
    def perplexity(self) -> float | None:
        """Of the held-out tokens of all prompts; None where it is no finite number."""
        return perplexity(float(self.nll.mean()))


def perplexity(nll: float) -> float | None:
    """e to the mean nats a token; None where that is no finite number that a float can hold."""
    return exp(nll) if nll < _LARGEST_EXPONENT else None


@torch.no_grad()
def predictions(model: Any, prompts: Prompts, batch_size: int) -> Predictions:
    """One reading of each text gives both: a causal model's logits after the prompt do not depend
    on what follows it."""
    last, nll = [], []
    for batch in prompts.batches(batch_size):
        ids = torch.tensor(batch, device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits
        after = logits[:, prompts.prompt_tokens - 1 : -1].float()
        held_out = ids[:, prompts.prompt_tokens :]
        losses = cross_entropy(after.flatten(0, 1), held_out.flatten(), reduction="none")
        last.append(after[:, 0].clone())
        nll.append(losses.view_as(held_out).double().mean(1))
    return Predictions(torch.cat(last), torch.cat(nll))


def text_nll(
    logits_of: Callable[[Tensor], Tensor], rows: Sequence[Sequence[int]], before: int, device: Any
) -> float | None:
    """Mean nats a token of generated tokens, over all of them; None where there are none.

    `rows`: ids of a prompt of `before` tokens and its continuation. `logits_of`: ids [1, tokens] to
    logits [1, tokens, vocabulary].
    """
    losses = []
    for row in rows:
        if len(row) > before:
            ids = torch.tensor([row], device=device)
            logits = logits_of(ids)[0, before - 1 : -1].float()
            losses.append(cross_entropy(logits, ids[0, before:], reduction="none"))
    return float(torch.cat(losses).double().mean()) if losses else None


class Reference:
    """What others are compared with."""

    def __init__(self, found: Predictions, prompts: Prompts) -> None:
        self.found = found
        self._clusters = prompts.clusters
        self._likeliest = membership(found.last, LIKELIEST)
        self._first = membership(found.last, 1)

    def overlaps(self, other: Predictions) -> NDArray[np.float32]:
        """Top-10 overlap by prompt, 0..1; 0 where a prediction is not finite."""
        return _scores(self._agreement(other, self._likeliest, LIKELIEST))

    def values(self, other: Predictions) -> dict[str, float | None]:
        """Means over prompts, with the standard errors (`_se`) that their clusters leave.

        Where a prediction is not finite it agrees with nothing, and what would have to be computed
        from it is not measured.
        """
        whole = bool(other.finite.all())
        nll = float(other.nll.mean()) if whole else None
        own = float(self.found.nll.mean())
        by_prompt = {
            "top1_agreement": self._agreement(other, self._first, 1),
            "cosine": cosine(self.found.last, other.last),
            "centred_cosine": cosine(self.found.last, other.last, centred=True),
            "kl": divergence(self.found.last, other.last),
        }
        return {
            "top10_overlap": float(self._agreement(other, self._likeliest, LIKELIEST).mean()),
            **_means(by_prompt, self._clusters),
            "nll": nll,
            "perplexity": None if nll is None else perplexity(nll),
            "perplexity_ratio": None if nll is None else perplexity(nll - own),
            "finite": other.finite_share,
        }

    def _agreement(self, other: Predictions, mine: Tensor, k: int) -> Tensor:
        common = overlap(mine, membership(other.last, k))
        return torch.where(other.finite, common, torch.zeros_like(common))


def _means(columns: Mapping[str, Tensor], clusters: Sequence[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, column in columns.items():
        measured = bool(column.isfinite().all())
        values = column.tolist()
        found[name] = sum(values) / len(values) if measured else None
        found[f"{name}_se"] = mean_error(values, clusters) if measured else None
    return found


def _scores(column: Tensor) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = column.float().cpu().numpy()
    return scores
