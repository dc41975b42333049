"""What is read while training: pieces of one length, in an order that the seed decides."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.datasets import TooShortError, Window, load_task
from workloads.errors import InputError
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.measuring.texts import too_long
from workloads.training import generator

if TYPE_CHECKING:
    from torch import Tensor

MOST_TEXTS: Final = 512
"""Longer training reads them again, in another order."""
_SPARE_TOKENS: Final = 16
"""Texts are cut between words, somewhat before the length that is asked for."""


class TrainingTexts:
    """Beginnings of texts, all of one length, so that nothing is padded: ids [texts, tokens]."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self.ids = ids
        self._order: tuple[tuple[int, int], list[int]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _tensor(self) -> Tensor:
        import torch

        return torch.from_numpy(self.ids)

    def batch(self, seed: int, step: int, size: int) -> Tensor:
        """Ids [size, tokens] of step `step`, counted from 0.

        Texts follow each other in the order of the stream `training/order/<pass>`, and every text
        is read once before any is read again.
        """
        first = step * size
        rows = [self._row(seed, *divmod(at, len(self))) for at in range(first, first + size)]
        return self._tensor[rows]

    def _row(self, seed: int, number: int, at: int) -> int:
        import torch

        if self._order is None or self._order[0] != (seed, number):
            stream = generator(seed, f"training/order/{number}")
            self._order = (
                (seed, number),
                torch.randperm(len(self), generator=stream).tolist(),
            )
        return self._order[1][at]


def load_training_texts(config: PhaseCouplingConfig, tokenizer: Any) -> TrainingTexts:
    """As many texts of the training split as the steps read, up to 512.

    Which they are follows from the data alone. Raises `InputError` where no text is long enough.
    """
    settings = config.training
    before = settings.tokens // 2
    try:
        found = load_task(
            "continuation",
            config.data,
            samples=min(settings.steps * settings.batch_size, MOST_TEXTS),
            dev_questions=0,
            test_questions=1,
            tokenizer=tokenizer,
            window=Window(
                prefix_tokens=before,
                reference_tokens=settings.tokens - before + _SPARE_TOKENS,
                stride_tokens=settings.tokens,
                longest_tokens=before,
            ),
        )
    except TooShortError as error:
        raise too_long(config, "training.tokens", settings.tokens) from error
    rows = []
    for example in found.train:
        gap = "" if example.prompt[-1:].isspace() else " "
        ids = tokenizer(example.prompt + gap + example.answers[0])["input_ids"]
        if len(ids) >= settings.tokens:
            rows.append(ids[: settings.tokens])
    if not rows:
        raise InputError(
            f"{config.data} has no training text of {settings.tokens} tokens; lower "
            "training.tokens, or give longer texts"
        )
    return TrainingTexts(np.array(rows, dtype=np.int64))
