"""How well a model predicts running text, beside models that know no order of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import Any, Final

from workloads.datasets import grammar
from workloads.datasets.generated import SEED

STORIES: Final = 256
_COUNTED: Final = 2000
_BATCH: Final = 32
_MOST_NATS: Final = 700.0


@dataclass(frozen=True)
class HeldOutText:
    """Perplexities per token, the first token of a text not counted.

    `unigram`: a model that knows how often each token comes in training text, one added to each
    count. `uniform`: the size of the vocabulary. Beyond what a number can hold: infinite.
    """

    texts: int
    tokens: int
    perplexity: float
    unigram: float
    uniform: int


def held_out_text(model: Any, tokenizer: Any, stories: int = STORIES) -> HeldOutText:
    """Reads the test stream's first stories; words are counted in the pretraining stream's."""
    begin, end = [int(tokenizer.bos_token_id)], [int(tokenizer.eos_token_id)]

    def texts(stream: str, count: int) -> list[list[int]]:
        given = [grammar.story(SEED, stream, index).text for index in range(count)]
        return [
            begin + ids + end for ids in tokenizer(given, add_special_tokens=False)["input_ids"]
        ]

    return text_scores(
        model, texts("test", stories), texts(grammar.PRETRAINING, _COUNTED), model.config.vocab_size
    )


def text_scores(
    model: Any, texts: Sequence[Sequence[int]], counted: Iterable[Sequence[int]], vocabulary: int
) -> HeldOutText:
    """The scores on `texts`, tokens' ids each; the unigram model counts those of `counted`."""
    tokens = sum(len(text) - 1 for text in texts)
    counts = [1] * vocabulary
    for text in counted:
        for token in text[1:]:
            counts[token] += 1
    every = log(sum(counts))
    unigram = sum(every - log(counts[token]) for text in texts for token in text[1:])
    return HeldOutText(
        texts=len(texts),
        tokens=tokens,
        perplexity=_exp(_nats(model, texts) / tokens),
        unigram=_exp(unigram / tokens),
        uniform=vocabulary,
    )


def _exp(nats: float) -> float:
    return inf if nats > _MOST_NATS else round(exp(nats), 3)


def _nats(model: Any, texts: Sequence[Sequence[int]]) -> float:
    """Summed -ln p of all tokens but the first of each text.

    Texts are padded on the right: what stands before a pad does not see it.
    """
    import torch
    from torch.nn.functional import cross_entropy

    total = 0.0
    for first in range(0, len(texts), _BATCH):
        chosen = [torch.tensor(text) for text in texts[first : first + _BATCH]]
        ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        labels = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=-100)
        with torch.no_grad():
            device = next(model.parameters()).device
            logits = model(input_ids=ids.to(device), use_cache=False).logits
        total += float(
            cross_entropy(
                logits[:, :-1].flatten(0, 1).float().cpu(),
                labels[:, 1:].flatten(),
                reduction="sum",
            )
        )
    return total
