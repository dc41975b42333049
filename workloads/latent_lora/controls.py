"""Prompts and answers that a control puts in the place of the reconstruction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch

from workloads.latent_lora.pca import PCA
from workloads.latent_lora.scoring import words

Score = Callable[[str, Sequence[str]], float | None]

CANDIDATES = 50
"""How many of the commonest training answers are tried as a constant answer."""
JUDGES = 1000
"""On how many training answers they are tried."""
COMMONEST_WORDS = 24
"""Strings of up to this many of the commonest words are tried too."""


def best_constant(answers: Sequence[Sequence[str]], score: Score) -> str:
    """The one answer that scores best on (the first `JUDGES`) training answers [questions][golds].

    Tried: the commonest answers, and strings of the n words that stand in most answers. Ties go to
    the one tried first.
    """
    golds = [list(each) for each in answers[:JUDGES]]
    whole = Counter(each[0] for each in golds)
    common = Counter(word for each in golds for word in set(words(each[0])))
    ordered = [word for word, _ in common.most_common(COMMONEST_WORDS)]
    tried = [text for text, _ in whole.most_common(CANDIDATES)]
    tried += [" ".join(ordered[:count]) for count in range(1, len(ordered) + 1)]
    # Equal answers are scored once and weighted by how often they occur.
    distinct = Counter(tuple(each) for each in golds)

    def total(candidate: str) -> float:
        scored = ((score(candidate, gold), times) for gold, times in distinct.items())
        return sum(value * times for value, times in scored if value is not None)

    return max(dict.fromkeys(tried), key=total)


def mismatch(clusters: Sequence[str]) -> list[int]:
    """For each question the index of another one, of a different cluster.

    The nearest one before it, or after it at the list's head: so that asking more questions
    changes no pair once there are two clusters. Of a single one each takes its neighbour.
    """
    count = len(clusters)
    chosen = []
    for i in range(count):
        candidates = (*range(i - 1, -1, -1), *range(i + 1, count))
        fallback = i - 1 if i else min(1, count - 1)
        chosen.append(next((j for j in candidates if clusters[j] != clusters[i]), fallback))
    return chosen


def snap(ids: torch.Tensor, table: torch.Tensor, pca: PCA, chunk: int = 256) -> torch.Tensor:
    """Token ids [...] replaced by the tokens whose codes are nearest to theirs.

    `table` is [vocabulary, dim]. A code of enough dimensions names its token exactly: the
    vocabulary is a finite codebook, so this control shows what the code's width loses by itself.
    """
    codes = pca.encode(table.float())
    unique, where = torch.unique(ids, return_inverse=True)
    parts = torch.split(codes[unique], chunk)
    nearest = [torch.cdist(part, codes).argmin(1) for part in parts]
    return torch.cat(nearest)[where]
