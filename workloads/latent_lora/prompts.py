"""Questions as token ids: one split in memory, and batches of it padded on the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from workloads.datasets import fit_prompt

if TYPE_CHECKING:
    from workloads.datasets import Example


@dataclass(frozen=True)
class Batch:
    """Prompts padded on the left.

    `ids`, `mask` and `positions` are [batch, seq]; `answers` and `answer_mask`, the first tokens of
    the first gold answer, [batch, k].
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    answers: torch.Tensor
    answer_mask: torch.Tensor

    def first(self, count: int) -> Batch:
        """The first `count` prompts, without the padding that only the others need."""
        start = int(self.mask[:count].any(0).int().argmax())
        return Batch(
            self.ids[:count, start:],
            self.mask[:count, start:],
            self.positions[:count, start:],
            self.answers[:count],
            self.answer_mask[:count],
        )


@dataclass(frozen=True)
class Split:
    """The examples of a split with the token ids of their prompts and first gold answers."""

    name: str
    examples: tuple[Example, ...]
    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    pad: int

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, indices: Sequence[int], answer_tokens: int = 0, device: Any = "cpu") -> Batch:
        """The prompts at `indices`, with `answer_tokens` tokens of each answer."""
        ids, mask = pad_left([self.prompts[i] for i in indices], self.pad)
        answers, answer_mask = pad_right(
            [self.answers[i][:answer_tokens] for i in indices], self.pad, answer_tokens
        )
        return Batch(
            ids.to(device),
            mask.to(device),
            positions_of(mask).to(device),
            answers.to(device),
            answer_mask.to(device),
        )

    def head(self, count: int) -> Split:
        """The first `count` questions."""
        return replace(
            self,
            examples=self.examples[:count],
            prompts=self.prompts[:count],
            answers=self.answers[:count],
        )

    def with_prompts(self, of: Sequence[int]) -> Split:
        """The same questions, each asked with the prompt of the question at `of[i]`."""
        return replace(self, prompts=tuple(self.prompts[i] for i in of))

    def by_length(self, size: int) -> list[list[int]]:
        """Batches of at most `size` indices, prompts of similar length together, longest first."""
        order = sorted(range(len(self)), key=lambda i: (-len(self.prompts[i]), i))
        return [order[start : start + size] for start in range(0, len(order), size)]


def tokenise(
    name: str, examples: Sequence[Example], tokenizer: Any, max_prompt_tokens: int
) -> Split:
    """Encodes prompts as the tokenizer does by itself (with BOS where it adds one).

    A prompt beyond the limit loses context, never its question nor "Answer: ".

    An answer's tokens are those that follow the prompt's when both are encoded together, or, where
    the tokenizer merges across the seam, those of the answer alone without special tokens.
    """
    texts = [fit_prompt(example, tokenizer, max_prompt_tokens) for example in examples]
    prompts = [tuple(ids) for ids in _encode(tokenizer, texts, True)]
    continued = [
        text + ("" if text[-1:].isspace() else " ") + example.answers[0]
        for text, example in zip(texts, examples, strict=True)
    ]
    together = _encode(tokenizer, continued, True)
    alone = _encode(tokenizer, [e.answers[0] for e in examples], False)
    answers = [
        tuple(both[len(prompt) :]) if tuple(both[: len(prompt)]) == prompt else tuple(answer)
        for prompt, both, answer in zip(prompts, together, alone, strict=True)
    ]
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = tokenizer.eos_token_id or 0
    return Split(name, tuple(examples), tuple(prompts), tuple(answers), int(pad))


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both [rows, longest row]."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def pad_right(
    rows: Sequence[Sequence[int]], pad: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both [rows, width]."""
    ids = [list(row) + [pad] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    shape = (len(rows), width)
    return (
        torch.tensor(ids, dtype=torch.long).reshape(shape),
        torch.tensor(mask, dtype=torch.long).reshape(shape),
    )


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Position ids [batch, seq] that count from 0 at the first token that is no padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def _encode(tokenizer: Any, texts: list[str], special: bool) -> list[list[int]]:
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=special)["input_ids"]
    return ids
