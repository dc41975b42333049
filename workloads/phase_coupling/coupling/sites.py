"""Where in a model oscillators can be joined to it: its blocks, its last norm, its head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from torch import nn

from telemetry.probes import find_blocks
from telemetry.probes.discovery import unwrapped
from workloads.errors import InputError
from workloads.phase_coupling.coupling.layers import SITES, check_family, check_site, resolve_layer

Side = Literal["input", "output"]


@dataclass(frozen=True)
class Place:
    """A module of which one tensor is read, and replaced where oscillators act: what goes into it
    or what comes out of it, [batch, seq, width]."""

    module: nn.Module
    side: Side
    width: int


@dataclass(frozen=True)
class _Family:
    base: str
    final_norm: str
    head: str
    first_norm: str
    """Of a block: the norm that reads the stream for the mixer, and for nothing else. RWKV's first
    block has one before it whose output *is* the stream: not that one."""
    mixer: str
    mixer_side: Side = "output"


_ATTENTION: Final = _Family("model", "norm", "lm_head", "input_layernorm", "self_attn")
# What a Mamba's mixer gives is read before its out-projection, after the gate.
_MAMBA: Final = _Family("backbone", "norm_f", "lm_head", "norm", "mixer.out_proj", "input")
_FAMILIES: Final = {
    "llama": _ATTENTION,
    "qwen2": _ATTENTION,
    "mamba": _MAMBA,
    "mamba2": _MAMBA,
    "rwkv": _Family("rwkv", "ln_out", "head", "ln1", "attention"),
}


@dataclass(frozen=True)
class Sites:
    """What `sites_of` found in a model. `head` is None in a model without one."""

    family: str
    blocks: tuple[nn.Module, ...]
    final_norm: nn.Module
    head: nn.Module | None
    hidden_size: int
    vocab_size: int

    @property
    def names(self) -> tuple[str, ...]:
        """The sites that this model has."""
        return SITES if self.head is not None else tuple(one for one in SITES if one != "logits")

    def at(self, site: str, layer: int | str) -> Place:
        """The module of a site; `layer` is not read at `logits`.

        At `logits` the vocabulary is what channels are elsewhere: the core reads the logits, and a
        gain per channel is one per word. A scalar gain there is an inverse temperature.
        Raises `InputError` for a site the model has not, and a block beyond it.
        """
        check_site(site)
        if site == "logits":
            if self.head is None:
                raise InputError(f"site=logits: a {self.family} without a head has no logits")
            return Place(self.head, "output", self.vocab_size)
        kind = _FAMILIES[self.family]
        block = self.blocks[resolve_layer(layer, len(self.blocks))]
        if site == "residual":
            return Place(block, "output", self.hidden_size)
        if site == "before_norm":
            return Place(block.get_submodule(kind.first_norm), "input", self.hidden_size)
        width = self.hidden_size
        if kind.mixer_side == "input":
            mixer: Any = block.get_submodule(kind.mixer.partition(".")[0])
            width = int(mixer.intermediate_size)
        return Place(block.get_submodule(kind.mixer), kind.mixer_side, width)


def sites_of(model: nn.Module) -> Sites:
    """The sites and blocks of a Mamba, Mamba2, RWKV, Llama or Qwen2, whatever it is wrapped in.

    Raises `InputError` for a model of another type.
    """
    inner: Any = unwrapped(model)
    config = getattr(inner, "config", None)
    family = str(getattr(config, "model_type", "unknown"))
    check_family(family, type(inner).__name__)
    kind = _FAMILIES[family]
    base = getattr(inner, kind.base, inner)
    return Sites(
        family=family,
        blocks=find_blocks(model).modules,
        final_norm=base.get_submodule(kind.final_norm),
        head=getattr(inner, kind.head, None),
        hidden_size=int(config.hidden_size),  # type: ignore[union-attr]
        vocab_size=int(config.vocab_size),  # type: ignore[union-attr]
    )
