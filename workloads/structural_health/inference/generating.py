"""Chunks of tokens from a causal language model, and its state at the end of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workloads.errors import DivergedError

Choose = Callable[[Tensor], int]
"""From logits [vocab] of float32 on the CPU to a token."""


@dataclass(frozen=True)
class Chunk:
    """What was written, and the model's state where the last token of it was chosen.

    Attributes:
        ids: the tokens.
        logits: [vocab] float32, as the model gave them.
        hidden: [dim] float32, of the last layer.
        last_read: the token that was read where these are from.
    """

    ids: tuple[int, ...]
    logits: Tensor
    hidden: Tensor
    last_read: int


@torch.no_grad()
def write_chunk(
    model: Any, context: Sequence[int], tokens: int, choose: Choose, ends: Collection[int]
) -> Chunk:
    """`tokens` tokens after `context`.

    End tokens are never chosen, so that a chunk has its length and a text that has ended is not
    read again, which would look like a model that stands still. A model that keeps no past of keys
    and values reads everything again at each token. Raises `DivergedError` where logits are not
    finite: nothing says then what would be written.
    """
    read = torch.tensor([list(context)], dtype=torch.long, device=model.device)
    step, past, ids = read, None, list[int]()
    barred = sorted(ends)
    while True:
        last = len(ids) == tokens - 1
        cache: dict[str, Any] = {} if past is None else {"past_key_values": past}
        out = model(input_ids=step, use_cache=True, output_hidden_states=last, **cache)
        past = getattr(out, "past_key_values", None)
        logits = out.logits[0, -1].float().cpu()
        if not bool(logits.isfinite().all()):
            raise DivergedError(f"the logits are not finite at token {len(ids) + 1} of a chunk")
        allowed = logits.clone()
        allowed[barred] = -torch.inf
        ids.append(choose(allowed))
        if last:
            hidden = out.hidden_states[-1][0, -1].float().cpu()
            return Chunk(tuple(ids), logits, hidden, last_read=int(step[0, -1]))
        token = torch.tensor([[ids[-1]]], dtype=torch.long, device=model.device)
        step = token if past is not None else torch.cat([step, token], 1)


def greedy(logits: Tensor) -> int:
    """The likeliest token."""
    return int(logits.argmax())


def sampling(generator: torch.Generator, temperature: float, top_p: float) -> Choose:
    """Draws from the smallest set of likeliest tokens whose probability reaches `top_p`, at a
    temperature (nucleus sampling, Holtzman et al. 2020)."""

    def choose(logits: Tensor) -> int:
        found = (logits.double() / temperature).softmax(-1).sort(descending=True, stable=True)
        likely, order = found.values, found.indices
        kept = likely.cumsum(-1) - likely < top_p  # what is before the one that reaches it, and it
        drawn = torch.multinomial(likely * kept, 1, generator=generator)
        return int(order[drawn])

    return choose


def end_tokens(model: Any) -> set[int]:
    """The ids that end a text, as the model's configuration names them."""
    for config in (model.generation_config, model.config):
        ends = getattr(config, "eos_token_id", None)
        if ends is not None:
            return set(ends) if isinstance(ends, list | tuple) else {int(ends)}
    return set()
