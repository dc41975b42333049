"""Greedy decoding from token ids or from embeddings: one loop for every form of prompt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Generated:
    """New tokens [batch, new] (from a row's first end token on, that token repeated), and whether
    all logits that chose a row's tokens were finite, [batch]."""

    tokens: torch.Tensor
    finite: torch.Tensor


@torch.no_grad()
def greedy(
    model: Any,
    prompt: dict[str, torch.Tensor],
    mask: torch.Tensor,
    positions: torch.Tensor,
    max_new_tokens: int,
    end_tokens: Collection[int],
) -> Generated:
    """Decodes up to `max_new_tokens` tokens after prompts padded on the left.

    `prompt` is {"input_ids": [batch, seq]} or {"inputs_embeds": [batch, seq, dim]}; `mask` and
    `positions` are [batch, seq]. Mask and positions make the padding inert, so a prompt decodes
    alike alone and in a batch; nothing but the first step knows which form the prompt had.
    """
    ends = torch.tensor(sorted(end_tokens), device=mask.device)
    done = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
    finite = ~done
    chosen: list[torch.Tensor] = []
    step, cache = prompt, None
    position = positions
    for _ in range(max_new_tokens):
        out = model(
            **step,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits, cache = out.logits[:, -1], out.past_key_values
        finite = finite & (done | torch.isfinite(logits).all(-1))
        token = logits.argmax(-1)
        if chosen:
            token = torch.where(done, chosen[-1], token)
        chosen.append(token)
        done = done | torch.isin(token, ends)
        if bool(done.all()):
            break
        step = {"input_ids": token.unsqueeze(1)}
        position = position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return Generated(torch.stack(chosen, dim=1), finite)


def new_text(tokenizer: Any, tokens: torch.Tensor, end_tokens: Collection[int]) -> list[str]:
    """The text of generated tokens [batch, new] up to their first end token."""
    ends = set(end_tokens)
    texts = []
    for row in tokens.tolist():
        cut = next((i for i, token in enumerate(row) if token in ends), len(row))
        texts.append(tokenizer.decode(row[:cut], skip_special_tokens=True).strip())
    return texts


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end a generation: the model's generation settings and the tokenizer's EOS."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)
