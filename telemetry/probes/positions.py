"""Which vector of a layer's output is watched: the first sample's, at its last token.

In a batch padded on the right the last position is often padding, whose hidden state says
nothing of the sample. With the batch's attention mask the last token that is none is taken.
"""

from __future__ import annotations

import torch


def last_token(
    values: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> torch.Tensor | None:
    """The vector [dim] of the first sample's last token; it shares the storage of `values`.

    `values` is [dim] (taken as it is), [seq, dim] or [batch, seq, dim]: hidden states or logits.
    `attention_mask`, [seq] or [batch, seq], is not 0 where there is a token; without one, the last
    position is taken. None where the mask says that the sample has no token, or `seq` or `batch`
    is 0. Raises ValueError for another rank, and for a mask that does not fit.
    """
    if values.ndim not in (1, 2, 3):
        raise ValueError(
            f"a tensor of shape {list(values.shape)} was given, of rank {values.ndim}; valid are "
            "[dim], [seq, dim] and [batch, seq, dim]: pick the part of it that is one of these"
        )
    if not values.numel():
        return None
    values = values.detach()
    if values.ndim == 1:
        return values
    sample = values if values.ndim == 2 else values[0]
    if attention_mask is None:
        return sample[-1]
    position = last_token_position(attention_mask)
    if attention_mask.shape[-1] != len(sample):
        raise ValueError(
            f"the attention mask is of {attention_mask.shape[-1]} positions, the values are of "
            f"{len(sample)}: give the mask of the same batch"
        )
    return None if position is None else sample[position]


def last_token_position(attention_mask: torch.Tensor) -> int | None:
    """Where the first sample's last token is, in a mask [seq] or [batch, seq]; padding is 0.

    None if the sample is nothing but padding. Waits for the device that the mask is on. Raises
    ValueError for a mask of another rank.
    """
    if attention_mask.ndim not in (1, 2) or not attention_mask.shape[0]:
        raise ValueError(
            f"the attention mask is of shape {list(attention_mask.shape)}; valid are [seq] and "
            "[batch, seq], as a tokenizer gives it"
        )
    sample = attention_mask if attention_mask.ndim == 1 else attention_mask[0]
    tokens = sample.detach().nonzero()
    return int(tokens[-1]) if len(tokens) else None
