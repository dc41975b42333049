"""Greedy continuation of prompts of one length."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def greedy(model: Any, prompts: Tensor, new_tokens: int, ends: Collection[int]) -> list[list[int]]:
    """Up to `new_tokens` ids after each of `prompts` [batch, tokens], up to its first end token,
    which is left out.

    A text ends before a token whose logits are not finite: nothing says which one it would be. A
    model that keeps no past of keys and values reads everything again at each step.
    """
    stops = torch.tensor(sorted(ends), dtype=torch.long, device=prompts.device)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
    step, past, chosen = prompts, None, list[Tensor]()
    for _ in range(new_tokens):
        cache: dict[str, Any] = {} if past is None else {"past_key_values": past}
        out = model(input_ids=step, use_cache=True, **cache)
        logits, past = out.logits[:, -1], getattr(out, "past_key_values", None)
        token = logits.argmax(-1)
        done = done | torch.isin(token, stops) | ~logits.isfinite().all(-1)
        if bool(done.all()):
            break
        chosen.append(torch.where(done, -1, token))
        token = torch.where(done, 0, token).unsqueeze(1)
        step = token if past is not None else torch.cat([step, token], 1)
    rows = torch.stack(chosen, 1).tolist() if chosen else [[] for _ in range(len(prompts))]
    return [[token for token in row if token >= 0] for row in rows]
