"""Tiny models of each family that can be coupled, and cores joined to them."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor, nn

from tests.telemetry.probes.tiny_models import BLOCKS, VOCABULARY, causal_model
from workloads.phase_coupling.config import KuramotoSettings, PhaseBlockSettings
from workloads.phase_coupling.cores.kuramoto import KuramotoCore
from workloads.phase_coupling.cores.phase_block import PhaseBlockCore
from workloads.phase_coupling.coupling.attach import Coupling, site_width
from workloads.phase_coupling.coupling.layers import FAMILIES, SITES

__all__ = ["BLOCKS", "FAMILIES", "SITES", "VOCABULARY", "core_for", "join", "logits", "tokens"]
JOINED = [(family, site) for family in FAMILIES for site in SITES]


_made = functools.cache(causal_model)


def model_of(family: str) -> Any:
    """In evaluation mode, and a copy: what a test does to it reaches no other."""
    return copy.deepcopy(_made(family)).eval()


def core_for(
    model: nn.Module,
    site: str = "residual",
    layer: int | str = 1,
    *,
    settings: KuramotoSettings | PhaseBlockSettings | None = None,
    gain: str = "channel",
    strength: float = 0.1,
    seed: int = 0,
) -> Any:
    width = site_width(model, site, layer)
    settings = settings or KuramotoSettings(drive=0.5)
    core: Any
    if isinstance(settings, PhaseBlockSettings):
        core = PhaseBlockCore(settings, width)
    else:
        core = KuramotoCore(settings, width, gain=gain, strength=strength)
    core.init(torch.Generator().manual_seed(seed))
    return core


def join(
    model: nn.Module,
    site: str = "residual",
    mode: Any = "modulate",
    layer: int | str = 1,
    core: Any = None,
    **options: Any,
) -> Coupling:
    core = core_for(model, site, layer) if core is None else core
    return Coupling.attach(model, core, site=site, layer=layer, mode=mode, **options)


def tokens(rows: int = 2, length: int = 7, seed: int = 0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY, (rows, length), generator=drawn)


@torch.no_grad()
def logits(model: nn.Module, ids: Tensor, **inputs: Any) -> Tensor:
    read: Tensor = model(input_ids=ids, use_cache=False, **inputs).logits
    return read
