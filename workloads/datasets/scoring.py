"""Answer scores as the SQuAD v1.1 evaluation defines them (Rajpurkar et al. 2016)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Lower case, without punctuation and articles, blanks squeezed."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1(given: str, answers: Sequence[str]) -> float:
    """Multiset token F1 of the best matching answer, in [0, 1]."""
    return max(_f1(normalized(given).split(), normalized(answer).split()) for answer in answers)


def exact_match(given: str, answers: Sequence[str]) -> float:
    """1.0 when the normalized text equals one of the answers, else 0.0."""
    return float(any(normalized(given) == normalized(answer) for answer in answers))


def _f1(given: list[str], answer: list[str]) -> float:
    shared = sum((Counter(given) & Counter(answer)).values())
    if not shared:
        return float(given == answer)
    precision, recall = shared / len(given), shared / len(answer)
    return 2 * precision * recall / (precision + recall)
