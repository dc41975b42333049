"""How near one prediction of the next token is to another, by prompt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor


def membership(logits: Tensor, k: int) -> Tensor:
    """How much each token is among the k likeliest, [prompts, vocabulary] in 0..1, float64.

    Each row sums to k. Tokens that are level at the last place share what is left of it: of a
    model that is mostly zeros thousands are, and which of them a sort puts first means nothing.
    """
    k = min(k, logits.shape[-1])
    last = logits.topk(k, dim=-1).values[:, -1:]
    above, level = logits > last, logits == last
    left = k - above.sum(-1, keepdim=True)
    shared = left.double() / level.sum(-1, keepdim=True).clamp(min=1)
    return above.double() + level.double() * shared


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Share in 0..1, [prompts], that two memberships of the same k have in common.

    Where only one of them has ties it is what sorting it in random order gives on average.
    """
    common = torch.minimum(one, other).sum(-1)
    return common / torch.maximum(one.sum(-1), other.sum(-1))


def cosine(one: Tensor, other: Tensor, centred: bool = False) -> Tensor:
    """Cosine of rows [prompts, vocabulary] in float64; NaN where a row has no length.

    `centred`: each row less its mean first, which no probability depends on.
    """
    one, other = one.double(), other.double()
    if centred:
        one, other = one - one.mean(-1, keepdim=True), other - other.mean(-1, keepdim=True)
    lengths = one.norm(dim=-1) * other.norm(dim=-1)
    found: Tensor = ((one * other).sum(-1) / lengths).clamp(-1, 1)
    return found


def divergence(reference: Tensor, other: Tensor) -> Tensor:
    """Kullback–Leibler divergence of `other` from `reference` in nats, [prompts], float64; both are
    logits [prompts, vocabulary]."""
    p, q = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).clamp(min=0)


def distinct(rows: Sequence[Sequence[int]], n: int) -> float | None:
    """Different n-grams over all n-grams of generated tokens, mean over texts; None without any."""
    shares = []
    for row in rows:
        grams = Counter(tuple(row[at : at + n]) for at in range(len(row) - n + 1))
        if grams:
            shares.append(len(grams) / grams.total())
    return sum(shares) / len(shares) if shares else None


def mean_error(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """Standard error of a mean over clustered examples (the sandwich with G / (G - 1)); None for
    fewer than two clusters."""
    mean = sum(values) / len(values)
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    count = len(sums)
    if count < 2:
        return None
    squares = sum(total * total for total in sums.values())
    return sqrt(count / (count - 1) * squares) / len(values)
