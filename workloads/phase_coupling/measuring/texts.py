"""The test texts that a trial reads, and the prompts that it continues. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.datasets import TooShortError, Window, load_task
from workloads.errors import InputError
from workloads.phase_coupling.config import PhaseCouplingConfig

_SPARE_TOKENS: Final = 16
"""Texts are cut between words, somewhat before the length that is asked for."""
_SPARE_TEXTS: Final = 8
_PREFIX: Final = 16
"""Texts come in two pieces, which are put together again; so long is the first."""


@dataclass(frozen=True)
class TestTexts:
    """Beginnings of texts, all of one length, so that no model needs padding.

    Attributes:
        ids: [texts, tokens] token ids.
        units, clusters: ids of length [texts]; a cluster is the text that the beginning is of.
        prompts: [prompts, prompt tokens] token ids, the beginnings of the first texts.
        prompt_units: the prompts' ids.
    """

    __test__ = False  # no class of tests, whatever its name begins with

    ids: NDArray[np.int64]
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    prompts: NDArray[np.int64]
    prompt_units: tuple[str, ...]

    def batches(self, size: int) -> Iterator[tuple[tuple[str, ...], NDArray[np.int64]]]:
        """Ids of texts and their tokens [batch, tokens], in order."""
        for start in range(0, len(self.ids), size):
            yield self.units[start : start + size], self.ids[start : start + size]


def load_test_texts(config: PhaseCouplingConfig, tokenizer: Any) -> TestTexts:
    """The test split's beginnings. Raises `InputError` if too few are long enough."""
    count = max(config.texts, config.sample_prompts)
    asked = {"text_tokens": config.text_tokens}
    if config.sample_prompts:
        asked["prompt_tokens"] = config.prompt_tokens
    longest = max(asked, key=asked.__getitem__)
    length = asked[longest]
    window = Window(
        prefix_tokens=_PREFIX,
        reference_tokens=max(length - _PREFIX, 1) + _SPARE_TOKENS,
        stride_tokens=_PREFIX,
        longest_tokens=_PREFIX,
    )
    try:
        found = load_task(
            "continuation",
            config.data,
            samples=1,
            dev_questions=0,
            test_questions=count + _SPARE_TEXTS,
            tokenizer=tokenizer,
            window=window,
        )
    except TooShortError as error:
        raise too_long(config, longest, length) from error
    rows: dict[str, list[int]] = {}
    clusters = []
    for example in found.test:
        before = example.prompt
        text = before + ("" if before[-1:].isspace() else " ") + example.answers[0]
        ids = tokenizer(text)["input_ids"][:length]
        if len(ids) == length and len(rows) < count:
            rows[example.id] = ids
            clusters.append(example.cluster)
    if len(rows) < count:
        raise InputError(
            f"{config.data} gives {len(rows)} of {count} texts: its test split has no more of "
            f"{length + _SPARE_TOKENS} tokens; lower texts, sample_prompts, text_tokens or "
            "prompt_tokens, or give more texts"
        )
    ids = np.array(list(rows.values()), dtype=np.int64)
    units = tuple(rows)
    return TestTexts(
        ids[: config.texts, : config.text_tokens],
        units[: config.texts],
        tuple(clusters[: config.texts]),
        ids[: config.sample_prompts, : config.prompt_tokens],
        units[: config.sample_prompts],
    )


def too_long(config: PhaseCouplingConfig, key: str, length: int) -> InputError:
    """Of a length that no text of the data has, by the key that asks for it."""
    return InputError(
        f"{key} is {length}, and {config.data} has no text of so many tokens; lower {key}"
    )
