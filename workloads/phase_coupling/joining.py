"""A trial's oscillators, drawn from its seed, and how they are joined to its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workloads.phase_coupling.config import KuramotoSettings, PhaseCouplingConfig
from workloads.training import generator

if TYPE_CHECKING:
    from torch import nn

    from workloads.phase_coupling.coupling.attach import Coupling


def draw_core(config: PhaseCouplingConfig, model: nn.Module, seed: int) -> Any | None:
    """The core of a seed, the same in every arm that has one of its shape; None where mode is off.

    It is in float32 whatever the model is in, on the model's device, in evaluation mode.
    """
    if config.mode == "off":
        return None
    from workloads.phase_coupling.cores.kuramoto import KuramotoCore
    from workloads.phase_coupling.cores.phase_block import PhaseBlockCore
    from workloads.phase_coupling.coupling.attach import site_width

    width = site_width(model, config.site, config.layer)
    core: Any
    if isinstance(config.core, KuramotoSettings):
        core = KuramotoCore(config.core, width, gain=config.gain, strength=config.strength)
    else:
        core = PhaseBlockCore(config.core, width)
    core.init(generator(seed, "core"))
    return core.to(next(model.parameters()).device).eval()


def joined(config: PhaseCouplingConfig, model: nn.Module, core: Any | None) -> Coupling:
    """The core at its site; a context manager that takes it off at its end."""
    from workloads.phase_coupling.coupling.attach import Coupling

    return Coupling.attach(
        model,
        core,
        site=config.site,
        layer=config.layer,
        mode=config.mode,
        state=config.state,
        initial=config.initial,
    )


@contextmanager
def measured_alone(core: Any | None) -> Iterator[None]:
    """Within the block a core that pools over the sequence does so text by text.

    The origin read texts one by one, which a trial reads side by side.
    """
    if core is None:
        yield
        return
    core.rows_apart = True
    try:
        yield
    finally:
        core.rows_apart = False
