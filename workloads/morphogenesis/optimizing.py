"""The optimizers of a growing network: one for the host, one for each seed while there is one.

A seed's optimizer begins with the seed and goes with it, so that a slot that stays empty changes
nothing in the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from workloads.morphogenesis.body.hosts import GrowingHost
    from workloads.morphogenesis.config import MorphogenesisConfig

HOST = "host"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Optimizers:
    """AdamW for the host and for each slot's seed (with its gate), with rates of their own."""

    def __init__(self, host: GrowingHost, config: MorphogenesisConfig) -> None:
        self._host, self._config = host, config
        self._each: dict[str, torch.optim.AdamW] = {}
        self._seeds: dict[str, torch.nn.Module] = {}
        self._each[HOST] = self._adamw(list(host.host_parameters()), config.learning_rate)
        self.follow()

    def follow(self) -> None:
        """Makes an optimizer for every seed that is new, and lets go of those that are gone."""
        for name, slot in self._host.slots.items():
            if slot.seed is self._seeds.get(name):
                continue
            self._each.pop(name, None)
            self._seeds.pop(name, None)
            if slot.seed is not None:
                self._seeds[name] = slot.seed
                if parameters := list(slot.parameters()):
                    self._each[name] = self._adamw(parameters, self._config.seed_learning_rate)

    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        """What is trained now, by `host` or slot."""
        return {name: each.param_groups[0]["params"] for name, each in self._each.items()}

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for optimizer in self._each.values():
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One step of each. A parameter without a gradient stays as it is."""
        for optimizer in self._each.values():
            optimizer.step()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The moments of every parameter, named `<host or slot>/<place>/<moment>`. Not copied."""
        found = {}
        for name, optimizer in self._each.items():
            for place, parameter in enumerate(optimizer.param_groups[0]["params"]):
                for moment, value in optimizer.state.get(parameter, {}).items():
                    found[f"{name}/{place}/{moment}"] = value.detach()
        return found

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Puts back what `tensors` gave; a parameter that is not in it begins anew.

        The seeds must stand as they did then.
        """
        self.follow()
        for name, optimizer in self._each.items():
            for place, parameter in enumerate(optimizer.param_groups[0]["params"]):
                kept = {
                    moment: tensors[f"{name}/{place}/{moment}"].to(parameter.device, copy=True)
                    for moment in _MOMENTS
                    if f"{name}/{place}/{moment}" in tensors
                }
                optimizer.state.pop(parameter, None)
                if kept:
                    optimizer.state[parameter] = kept

    def _adamw(self, parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.AdamW:
        decay = self._config.weight_decay
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
