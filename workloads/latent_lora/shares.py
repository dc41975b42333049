"""Which part of a batch a rank reads, and how much it counts.

A loss is a mean over the tokens of the whole batch, and ranks hold different numbers of them. Data
parallelism averages the ranks' gradients as if they held the same, so each rank's means are
weighted beforehand: then loss and gradient are those of one process that reads the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workloads.latent_lora.losses import Reconstruction
from workloads.latent_lora.prompts import Split


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch: `indices` into the split, of which the losses on answers read the
    first `answer_prompts` (None: all).

    The weights times the rank's means, averaged over ranks, are the means of the whole batch: over
    tokens of prompts, over answers, and over tokens of answers. A rank for which no prompt is left
    reads one that weighs nothing, since all ranks have to take part in each step.
    """

    indices: list[int]
    answer_prompts: int | None
    tokens: float
    answers: float
    answer_tokens: float

    def of_parts(self, parts: Reconstruction) -> Reconstruction:
        """The reconstruction's means, weighted."""
        return replace(
            parts,
            cosine=parts.cosine * self.tokens,
            mse=parts.mse * self.tokens,
            relative_error=parts.relative_error * self.tokens,
            norm_ratio=parts.norm_ratio * self.tokens,
        )


def share_of(
    split: Split,
    indices: Sequence[int],
    rank: int,
    ranks: int,
    *,
    answer_tokens: int,
    answer_prompts: int | None,
) -> Share:
    """Rank `rank`'s part of the batch `indices`, every `ranks`-th prompt of it.

    `answer_tokens` of each answer are read, of the batch's first `answer_prompts` prompts.
    """
    read = list(indices[:answer_prompts])
    mine, mine_read = list(indices[rank::ranks]), read[rank::ranks]

    def weight(counts: dict[int, int], part: Sequence[int], whole: Sequence[int]) -> float:
        total = sum(counts[i] for i in whole)
        return ranks * sum(counts[i] for i in part) / max(1, total)

    prompts = {i: len(split.prompts[i]) for i in indices}
    answers = {i: min(answer_tokens, len(split.answers[i])) for i in indices}
    begun = {i: min(1, count) for i, count in answers.items()}
    return Share(
        indices=mine or list(indices[:1]),
        answer_prompts=None if answer_prompts is None else max(1, len(mine_read)),
        tokens=weight(prompts, mine, indices),
        answers=weight(begun, mine_read, read),
        answer_tokens=weight(answers, mine_read, read),
    )
