"""Tells a model that answers from one that says the same thing whatever it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MIN_PREDICTIONS = 20
"""Fewer predictions are not judged."""
MIN_DISTINCT_RATIO = 0.1
"""Collapsed below this many distinct predictions per distinct gold answer."""
MAX_TOP_PREDICTION_SHARE = 0.5
"""Collapsed if one prediction makes up at least this share of all…"""
MAX_TOP_WORD_SHARE = 0.3
"""…or one word this share of all predicted words ("the the the" is 1)…"""
EXCESS = 2.0
"""…and at least this many times the gold answers' own share: answers may be concentrated."""


@dataclass(frozen=True)
class Diversity:
    """How varied texts are; shares lie in [0, 1]."""

    count: int
    distinct: int
    top_text_share: float
    top_word_share: float
    top_text: str
    top_word: str


@dataclass(frozen=True)
class CollapseReport:
    """Whether predictions collapsed, and by what."""

    predictions: Diversity
    answers: Diversity
    reasons: tuple[str, ...]

    @property
    def collapsed(self) -> bool:
        """Whether any threshold was passed."""
        return bool(self.reasons)


def diversity(texts: Sequence[str]) -> Diversity:
    """Counts over texts as they read after lower-casing, articles and punctuation kept.

    Articles stay, since "the the the" is what the origin's models said.
    """
    split = [text.lower().split() for text in texts]
    whole = Counter(" ".join(parts) for parts in split)
    single = Counter(word for parts in split for word in parts)
    top_text, top_text_count = whole.most_common(1)[0] if whole else ("", 0)
    top_word, top_word_count = single.most_common(1)[0] if single else ("", 0)
    return Diversity(
        count=len(texts),
        distinct=len(whole),
        top_text_share=top_text_count / max(1, len(texts)),
        top_word_share=top_word_count / max(1, single.total()),
        top_text=top_text,
        top_word=top_word,
    )


def detect_collapse(predictions: Sequence[str], answers: Sequence[str]) -> CollapseReport:
    """Judges predictions against the gold answers (the first one each) to the same questions.

    Collapsed by any of: under `MIN_DISTINCT_RATIO` distinct predictions per distinct answer; one
    prediction, or one word, with a share of at least `MAX_TOP_PREDICTION_SHARE`,
    `MAX_TOP_WORD_SHARE` and `EXCESS` times that of the answers. Under `MIN_PREDICTIONS`
    predictions nothing is concluded.
    """
    given, gold = diversity(predictions), diversity(answers)
    reasons = []
    if given.count >= MIN_PREDICTIONS:
        if given.distinct < MIN_DISTINCT_RATIO * gold.distinct:
            reasons.append(f"{given.distinct} distinct predictions for {gold.distinct} answers")
        if given.top_text_share >= max(
            MAX_TOP_PREDICTION_SHARE, min(1.0, EXCESS * gold.top_text_share)
        ):
            reasons.append(f"{given.top_text_share:.0%} of predictions are {given.top_text!r}")
        if given.top_word_share >= max(MAX_TOP_WORD_SHARE, min(1.0, EXCESS * gold.top_word_share)):
            reasons.append(f"{given.top_word_share:.0%} of words are {given.top_word!r}")
    return CollapseReport(given, gold, tuple(reasons))
