"""Noise for sampling that depends on the seed, the prompt, the sample and the token's position.

A token is the argmax of logits/T plus Gumbel noise, which is a draw from softmax(logits/T). Two
models that are asked with the same noise give the same text for as long as they predict alike:
their texts part because of what they predict, and not by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from workloads.training import generator


class KeyedNoise:
    """Gumbel noise of several texts at once, each from a stream of its own.

    A text's noise is the same whatever texts are beside it. Each call of `next` is one position.
    """

    def __init__(self, seed: int, keys: Sequence[str], vocabulary: int) -> None:
        """keys: one a text, such as "<prompt id>/<sample>"."""
        self._streams = [generator(seed, f"sample/{key}") for key in keys]
        self._vocabulary = vocabulary

    def next(self) -> Tensor:
        """[texts, vocabulary], float32 on the CPU: the noise of the next position."""
        waits = torch.empty(len(self._streams), self._vocabulary)
        for row, stream in zip(waits, self._streams, strict=True):
            row.exponential_(generator=stream)
        return waits.log_().neg_()


def drawn_tokens(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """[texts] token ids, drawn from softmax(logits / temperature) by Gumbel noise of its shape."""
    scaled = logits.float() / temperature
    return (scaled + noise.to(scaled.device)).argmax(dim=-1)
