"""Scores of one prediction, in points (0 to 100), against all its gold answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

from workloads.datasets.scoring import normalized
from workloads.latent_lora.function_words import FUNCTION_WORDS

POINTS = 100.0


@lru_cache(maxsize=100_000)
def words(text: str) -> tuple[str, ...]:
    """The words of `text` after the official SQuAD normalisation.

    >>> words("The Eiffel-Tower, a tower.")
    ('eiffeltower', 'tower')
    """
    return tuple(normalized(text).split())


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The official F1: multiset overlap of words, the best over all gold answers.

    Two texts without words agree fully, as in the SQuAD 2.0 script and in torchmetrics.

    >>> round(f1("a b b", ["b b"]), 1), round(set_f1("a b b", ["b b"]), 1)
    (100.0, 100.0)
    >>> round(f1("x b b", ["b"]), 1), round(set_f1("x b b", ["b"]), 1)
    (50.0, 66.7)
    """
    return max(overlap_f1(words(prediction), words(answer)) for answer in answers)


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """100 where the normalised prediction equals a gold answer, else 0."""
    return POINTS * any(words(prediction) == words(answer) for answer in answers)


def set_f1(prediction: str, answers: Sequence[str]) -> float:
    """The origin's F1: overlap of sets of words, the first gold answer alone."""
    return overlap_f1(sorted(set(words(prediction))), sorted(set(words(answers[0]))))


def content_f1(prediction: str, answers: Sequence[str]) -> float | None:
    """`f1` over words that are no function words; None where no gold answer has such a word.

    For `continuation`, where a constant string of the commonest words scores high on `f1`.
    """
    golds = [content for answer in answers if (content := content_words(answer))]
    if not golds:
        return None
    return max(overlap_f1(content_words(prediction), gold) for gold in golds)


def content_words(text: str) -> list[str]:
    """The words of `text` that carry content."""
    return [word for word in words(text) if word not in FUNCTION_WORDS]


def contains_answer(prediction: str, answers: Sequence[str]) -> float:
    """100 where a gold answer stands, word for word, within the prediction, else 0.

    The origin's "answer present, wrong format": compare it with exact match.
    """
    given = f" {' '.join(words(prediction))} "
    return POINTS * any(
        f" {' '.join(words(answer))} " in given for answer in answers if words(answer)
    )


def overlap_f1(given: Collection[str], gold: Collection[str]) -> float:
    """F1 of two multisets of words, in points."""
    shared = sum((Counter(given) & Counter(gold)).values())
    if not shared:
        return POINTS * (not given and not gold)
    precision, recall = shared / len(given), shared / len(gold)
    return POINTS * 2 * precision * recall / (precision + recall)


def mean(scores: Sequence[float | None]) -> float | None:
    """The mean of the scores that were measured; None if there is none."""
    measured = [score for score in scores if score is not None]
    return sum(measured) / len(measured) if measured else None
