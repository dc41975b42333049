"""The texts that train and those that measure, all cut to one length. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.datasets import Example, Window, load_task
from workloads.errors import InputError
from workloads.phase_coupling.kssm_config import KssmConfig

_SPARE_TOKENS: Final = 16
"""Texts are cut between words, somewhat before the length that is asked for: so much more of each
is asked for, and the rest is cut off by token."""
_SPARE_TEXTS: Final = 8


@dataclass(frozen=True)
class Texts:
    """Token ids of texts of one length.

    Attributes:
        train: [train texts, tokens].
        test: [test texts, tokens].
        units, clusters: ids of length [test texts]; a cluster is the story.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    units: tuple[str, ...]
    clusters: tuple[str, ...]


def load_texts(config: KssmConfig, tokenizer: Any) -> Texts:
    """The training and the test split. Raises `InputError` if too few texts are long enough.

    Fewer training texts than `train_texts` are taken as they are, if there is at least one.
    """
    first = config.tokens // 2
    window = Window(
        prefix_tokens=first,
        reference_tokens=config.tokens - first + _SPARE_TOKENS,
        stride_tokens=config.tokens,
        longest_tokens=first,
    )
    found = load_task(
        "continuation",
        config.data,
        samples=config.train_texts + _SPARE_TEXTS,
        dev_questions=0,
        test_questions=config.texts + _SPARE_TEXTS,
        tokenizer=tokenizer,
        window=window,
    )
    train, _ = _rows(found.train, tokenizer, config.tokens, config.train_texts)
    test, clusters = _rows(found.test, tokenizer, config.tokens, config.texts)
    if not train or len(test) < config.texts:
        raise InputError(
            f"{config.data} gives {len(train)} training texts and {len(test)} of {config.texts} "
            f"test texts of {config.tokens} tokens; lower texts or tokens, or give more texts"
        )
    return Texts(
        np.array(list(train.values()), dtype=np.int64),
        np.array(list(test.values()), dtype=np.int64),
        tuple(test),
        clusters,
    )


def _rows(
    examples: Iterable[Example], tokenizer: Any, length: int, most: int
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    rows: dict[str, list[int]] = {}
    clusters = []
    for example in examples:
        ids = tokenizer(_text(example))["input_ids"][:length]
        if len(ids) == length and len(rows) < most:
            rows[example.id] = ids
            clusters.append(example.cluster)
    return rows, tuple(clusters)


def _text(example: Example) -> str:
    before = example.prompt
    return before + ("" if before[-1:].isspace() else " ") + example.answers[0]
