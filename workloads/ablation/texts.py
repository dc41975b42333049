"""The texts that are scored: token ids, and which of them are predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.ablation.config import AblationConfig
from workloads.datasets import Window, fit_prompt, load_task
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.datasets import Example


@dataclass(frozen=True)
class Texts:
    """Texts padded on the right, which a causal model never looks at.

    Attributes:
        ids: [texts, seq] token ids.
        scored: [texts, seq] whether the token is one that is predicted and scored.
        units, clusters: ids of length [texts].
    """

    ids: NDArray[np.int64]
    scored: NDArray[np.bool_]
    units: tuple[str, ...]
    clusters: tuple[str, ...]

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Ids and scored, both [batch, seq], in order."""
        for start in range(0, len(self.ids), size):
            yield self.ids[start : start + size], self.scored[start : start + size]

    def one_by_one(self) -> Iterator[Tensor]:
        """Ids [tokens] of each text without its padding."""
        import torch

        for ids, scored in zip(self.ids, self.scored, strict=True):
            yield torch.from_numpy(ids[: int(scored.nonzero()[0][-1]) + 1])

    def packed(self) -> dict[str, Any]:
        """As plain data and arrays."""
        return {
            "ids": self.ids,
            "scored": self.scored,
            "units": self.units,
            "clusters": self.clusters,
        }

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> Texts:
        """From what `packed` gave."""
        return cls(packed["ids"], packed["scored"], packed["units"], packed["clusters"])


def load_texts(config: AblationConfig, tokenizer: Any) -> tuple[Texts, Texts]:
    """Texts to train LoRA on (one where nothing is trained), and the test split's to score."""
    lora = config.lora
    data = load_task(
        config.task,
        config.data,
        samples=1 if lora is None else lora.steps * lora.batch_size,
        dev_questions=0,
        test_questions=config.texts,
        tokenizer=tokenizer,
        window=Window(
            prefix_tokens=config.prefix_tokens,
            reference_tokens=config.scored_tokens,
            stride_tokens=config.prefix_tokens + config.scored_tokens,
            longest_tokens=config.prefix_tokens,
        ),
    )
    limit = config.max_prompt_tokens if config.task == "qa" else None
    return _encoded(data.train, tokenizer, limit), _encoded(data.test, tokenizer, limit)


def _encoded(examples: Sequence[Example], tokenizer: Any, limit: int | None) -> Texts:
    rows, marks = [], []
    for example in examples:
        before = example.prompt if limit is None else fit_prompt(example, tokenizer, limit)
        before += "" if before[-1:].isspace() else " "
        encoded = tokenizer(before + example.answers[0], return_offsets_mapping=True)
        scored = [end > len(before) for _, end in encoded["offset_mapping"]]
        scored[0] = False  # nothing precedes the first token, so nothing predicts it
        if not any(scored):
            raise InputError(f"{example.id} has no token to score; leave it out of the data")
        rows.append(encoded["input_ids"])
        marks.append(scored)
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    return Texts(
        np.array([row + [pad] * (width - len(row)) for row in rows], dtype=np.int64),
        np.array([mark + [False] * (width - len(mark)) for mark in marks], dtype=bool),
        tuple(example.id for example in examples),
        tuple(example.cluster for example in examples),
    )
