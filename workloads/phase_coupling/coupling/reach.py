"""Whether what changes at a site reaches the logits: in a trained model a mixer may be dead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from workloads.phase_coupling.coupling.sites import Place, Sites, sites_of

_CHANGE: Final = 0.5
"""Each channel is made greater or smaller by this share of itself."""


@torch.no_grad()
def dead_blocks(model: nn.Module, ids: Tensor) -> dict[str, tuple[int, ...]]:
    """Site -> blocks, counted from 0, at which another value changes no logit, to the last bit.

    ids: [batch, seq] tokens that are read, once for each site of each block. At each the value is
    multiplied channel by channel, by what is drawn from 0.5 and 1.5. `logits` is left out, as it
    is what is looked at. Raises `InputError` for a model of a kind without known sites, and
    `ValueError` where the logits are not finite.
    """
    sites = sites_of(model)
    read = _logits(model, ids)
    if not bool(torch.isfinite(read).all()):
        raise ValueError("the logits are not finite")
    return {
        site: tuple(
            block
            for block in range(len(sites.blocks))
            if torch.equal(_changed(model, ids, sites, site, block), read)
        )
        for site in sites.names
        if site != "logits"
    }


def told(dead: Mapping[str, tuple[int, ...]], blocks: int) -> str:
    """What `dead_blocks` found, in words.

    >>> told({"residual": (), "mixer": (1, 2, 3)}, 4)
    'no logit is changed at mixer of blocks 1 to 3: oscillators there would act on nothing'
    """
    found = [f"{site} of {_numbers(of)}" for site, of in dead.items() if of]
    if not found:
        return f"{', '.join(dead)} change the logits, at each of {blocks} blocks"
    return f"no logit is changed at {', '.join(found)}: oscillators there would act on nothing"


def _numbers(blocks: tuple[int, ...]) -> str:
    if len(blocks) == 1:
        return f"block {blocks[0]}"
    if blocks[-1] - blocks[0] == len(blocks) - 1 and len(blocks) > 2:
        return f"blocks {blocks[0]} to {blocks[-1]}"
    return f"blocks {', '.join(map(str, blocks[:-1]))} and {blocks[-1]}"


def _changed(model: nn.Module, ids: Tensor, sites: Sites, site: str, block: int) -> Tensor:
    with _multiplied(sites.at(site, block)):
        return _logits(model, ids)


@contextmanager
def _multiplied(place: Place) -> Iterator[None]:
    drawn = torch.rand(place.width, generator=torch.Generator().manual_seed(0))
    factors = 1 + _CHANGE * (drawn < 0.5).float().mul(2).sub(1)

    def other(x: Tensor) -> Tensor:
        return x * factors.to(x)

    def of_input(_module: nn.Module, args: tuple[Any, ...]) -> Any:
        return (other(args[0]), *args[1:])

    def of_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        """A block gives a bare tensor or a tuple that begins with it, as its family has it."""
        if isinstance(output, Tensor):
            return other(output)
        return (other(output[0]), *output[1:])

    if place.side == "input":
        handle = place.module.register_forward_pre_hook(of_input)
    else:
        handle = place.module.register_forward_hook(of_output)
    try:
        yield
    finally:
        handle.remove()


def _logits(model: nn.Module, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits
