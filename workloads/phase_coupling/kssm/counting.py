"""What counts alone know: the floors `unigram` and `bigram`, of the tokens that models train on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_ADDED: Final = 0.5
"""To the count of every token, so that an unseen one is not impossible."""
_PRIOR: Final = 1.0
"""How many sightings of its first token the unigram is worth in a pair's probability."""


class Counts:
    """Probabilities of the next token, from texts [texts, tokens]; `pairs`: given the last one."""

    def __init__(self, texts: NDArray[np.int64], vocabulary: int, pairs: bool) -> None:
        nexts = texts[:, 1:]
        single = np.bincount(nexts.ravel(), minlength=vocabulary) + _ADDED
        self._single = single / single.sum()
        self._pairs: NDArray[np.float64] | None = None
        if pairs:
            found = np.zeros((vocabulary, vocabulary))
            np.add.at(found, (texts[:, :-1].ravel(), nexts.ravel()), 1.0)
            found += _PRIOR * self._single
            self._pairs = found / found.sum(axis=1, keepdims=True)

    def cross_entropy(self, texts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each token but the first, in nats: [texts, tokens - 1]."""
        given = self._single[texts[:, 1:]]
        if self._pairs is not None:
            given = self._pairs[texts[:, :-1], texts[:, 1:]]
        return np.asarray(-np.log(given), dtype=np.float64)

    def entropy(self, texts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the same predictions, over that of the uniform one: [texts, tokens - 1]."""
        table = self._single[None] if self._pairs is None else self._pairs
        each = -(table * np.log(table)).sum(axis=1) / np.log(table.shape[1])
        shown = np.zeros_like(texts[:, :-1]) if self._pairs is None else texts[:, :-1]
        return np.asarray(each[shown], dtype=np.float64)
