"""What a model is asked: the beginnings of texts, and the tokens that follow each. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.datasets import Example, Window, load_task
from workloads.dtdr.config import DtdrConfig
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_SPARE_TOKENS: Final = 16
"""Texts are cut between words, somewhat before the length that is asked for: so much more of each
is asked for, and the rest is cut off by token."""
_SPARE_TEXTS: Final = 8


@dataclass(frozen=True)
class Prompts:
    """Texts of one length, so that no model needs padding.

    Attributes:
        ids: [prompts, prompt_tokens + held_out_tokens] token ids.
        prompt_tokens: how many of them are the prompt.
        units, clusters: ids of length [prompts]; a cluster is the text that a prompt begins.
    """

    ids: NDArray[np.int64]
    prompt_tokens: int
    units: tuple[str, ...]
    clusters: tuple[str, ...]

    @property
    def held_out_tokens(self) -> int:
        """Tokens that are predicted, of all prompts together."""
        count, length = self.ids.shape
        return int(count) * (int(length) - self.prompt_tokens)

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """[batch, tokens], in order."""
        for start in range(0, len(self.ids), size):
            yield self.ids[start : start + size]

    def one_by_one(self) -> Iterator[Tensor]:
        """Ids [prompt_tokens] of each prompt."""
        import torch

        yield from torch.from_numpy(self.ids[:, : self.prompt_tokens])

    def packed(self) -> dict[str, Any]:
        """As plain data and arrays."""
        return {
            "ids": self.ids,
            "prompt_tokens": self.prompt_tokens,
            "units": self.units,
            "clusters": self.clusters,
        }

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> Prompts:
        """From what `packed` gave."""
        return cls(packed["ids"], packed["prompt_tokens"], packed["units"], packed["clusters"])


def load_prompts(config: DtdrConfig, tokenizer: Any) -> Prompts:
    """The test split's texts, one prompt each. Raises `InputError` if too few are long enough."""
    length = config.prompt_tokens + config.held_out_tokens
    window = Window(
        prefix_tokens=config.prompt_tokens,
        reference_tokens=config.held_out_tokens + _SPARE_TOKENS,
        stride_tokens=length,
        longest_tokens=config.prompt_tokens,
    )
    found = load_task(
        "continuation",
        config.data,
        samples=1,
        dev_questions=0,
        test_questions=config.prompts + _SPARE_TEXTS,
        tokenizer=tokenizer,
        window=window,
    )
    rows: dict[str, list[int]] = {}
    clusters = []
    for example in found.test:
        ids = tokenizer(_text(example))["input_ids"][:length]
        if len(ids) == length and len(rows) < config.prompts:
            rows[example.id] = ids
            clusters.append(example.cluster)
    if len(rows) < config.prompts:
        raise InputError(
            f"{config.data} gives {len(rows)} of {config.prompts} prompts: its test split has no "
            f"more texts of {length + _SPARE_TOKENS} tokens; lower prompts, prompt_tokens or "
            "held_out_tokens, or give more texts"
        )
    ids = np.array(list(rows.values()), dtype=np.int64)
    return Prompts(ids, config.prompt_tokens, tuple(rows), tuple(clusters))


def _text(example: Example) -> str:
    before = example.prompt
    return before + ("" if before[-1:].isspace() else " ") + example.answers[0]
