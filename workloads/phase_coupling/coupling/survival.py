"""How much of a modulation is left, block by block, up to the probabilities of the next token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from workloads.contract import Scores
from workloads.phase_coupling.coupling.attach import Coupling
from workloads.phase_coupling.coupling.sites import Sites

COLUMNS: Final = ("relative_change", "angle")
"""Of scores by layer: |coupled - uncoupled| / |uncoupled|, and 1 - cosine of the two, each the mean
over the tokens of the texts."""


@dataclass
class _Sums:
    """Over tokens; on the CPU in double precision, so that the batches' order hardly matters."""

    change: float = 0.0
    angle: float = 0.0

    def add(self, coupled: Tensor, uncoupled: Tensor, keep: Tensor) -> None:
        # A model in bfloat16 is compared as it is; the comparison itself is not rounded to it.
        a, b = coupled.double(), uncoupled.double()
        size_a, size_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
        change = (a - b).norm(dim=-1) / size_b.squeeze(-1)
        # Half the squared distance of the unit vectors is 1 - cosine, and exactly 0 where both are
        # the same, which 1 - (a·b) / (|a| |b|) is not.
        angle = (a / size_a - b / size_b).square().sum(dim=-1) / 2
        self.change += float(change[keep].sum())
        self.angle += float(angle[keep].sum())


@dataclass
class _Taps:
    """What hooks on blocks, last norm and model keep of one forward pass, by the unit's name."""

    seen: dict[str, Tensor] = field(default_factory=dict)

    def hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            self.seen[name] = (output if isinstance(output, Tensor) else output[0]).detach()

        return keep


def units_of(sites: Sites, layer: int | None) -> tuple[str, ...]:
    """Names from the coupled block on: "block.<i>" …, "final_norm", "logits", "probabilities".

    layer: None for oscillators at the logits, behind all blocks.
    """
    first = len(sites.blocks) if layer is None else layer
    blocks = (f"block.{index}" for index in range(first, len(sites.blocks)))
    return (*blocks, "final_norm", "logits", "probabilities")


@torch.no_grad()
def survival(
    model: nn.Module,
    coupling: Coupling,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    *,
    begin: Callable[[int, int], None] | None = None,
) -> Scores:
    """Scores "layers": each batch read twice, with the oscillators and without them.

    batches: token ids [batch, seq] and a mask of the same shape, 1 for a token, or None where all
    are. The mask is not given to the model: padding has to be on the right, where a causal model
    reads it after everything else. begin(index, rows): called before the coupled reading of each
    batch, to begin (and set, or hold) phases; by default `coupling.begin(rows)`.
    Where the oscillators do not act all scores are 0 and nothing is read; without a single token
    they are None. A score that is not finite is None.
    """
    units = units_of(coupling.sites, coupling.layer)
    if not coupling.acts:
        return _scores(units, {name: _Sums() for name in units}, tokens=1)
    sums, tokens = {name: _Sums() for name in units}, 0
    with _tapped(coupling.sites, units) as taps:
        for index, (ids, mask) in enumerate(batches):
            keep = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
            with coupling.paused():
                uncoupled = _read(model, ids, taps)
            if begin is None:
                coupling.begin(len(ids))
            else:
                begin(index, len(ids))
            coupled = _read(model, ids, taps)
            tokens += int(keep.sum())
            for name in units:
                sums[name].add(coupled[name], uncoupled[name], keep)
    return _scores(units, sums, tokens)


@contextmanager
def _tapped(sites: Sites, units: tuple[str, ...]) -> Iterator[_Taps]:
    """Hooks that come after the coupling's, and so see what it made of a block's output."""
    taps = _Taps()
    modules = {f"block.{index}": block for index, block in enumerate(sites.blocks)}
    handles = [modules[name].register_forward_hook(taps.hook(name)) for name in units[:-3]]
    handles.append(sites.final_norm.register_forward_hook(taps.hook("final_norm")))
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def _read(model: nn.Module, ids: Tensor, taps: _Taps) -> dict[str, Tensor]:
    taps.seen = {}
    logits = model(input_ids=ids, use_cache=False).logits.detach()
    probabilities = logits.float().softmax(dim=-1)
    return {**taps.seen, "logits": logits, "probabilities": probabilities}


def _scores(units: tuple[str, ...], sums: dict[str, _Sums], tokens: int) -> Scores:
    columns = {
        "relative_change": [_mean(sums[name].change, tokens) for name in units],
        "angle": [_mean(sums[name].angle, tokens) for name in units],
    }
    return Scores("layers", units, units, columns)


def _mean(total: float, tokens: int) -> float | None:
    mean = total / tokens if tokens else None
    return mean if mean is not None and abs(mean) < float("inf") else None
