"""How well the tokens of a text are predicted from what is before them."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy


def token_scores(
    logits: torch.Tensor, ids: torch.Tensor, scored: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each scored token is the likeliest (0 or 1), and its negative log-likelihood (nats).

    `logits` [batch, seq, vocabulary], `ids` and `scored` [batch, seq]; gives [batch, seq - 1] for
    the tokens from the second on, 0 where a token is not scored.
    """
    before, gold = logits[:, :-1].float(), ids[:, 1:]
    mask = scored[:, 1:].float()
    nll = cross_entropy(before.transpose(1, 2), gold, reduction="none")
    right = (before.argmax(-1) == gold).float()
    return right * mask, torch.where(mask > 0, nll, torch.zeros_like(nll))


def text_scores(
    logits: torch.Tensor, target: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """By text: the percentage of scored tokens predicted right, and the mean nats a token.

    `target` is ids and scored. A text of which a logit before a scored token is not finite has no
    loss that is, and so no result.
    """
    ids, scored = target
    right, nll = token_scores(logits, ids, scored)
    count = scored[:, 1:].sum(1)
    return 100 * right.sum(1) / count, nll.sum(1) / count
