"""The last good state of a network, kept on the CPU, and how it is put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from workloads.morphogenesis.body import CULLABLE
from workloads.morphogenesis.optimizing import HOST, Optimizers

if TYPE_CHECKING:
    from workloads.morphogenesis.body.hosts import GrowingHost

REASON = "the governor rolled back"


@dataclass(frozen=True)
class GoodState:
    """Parameters and moments by name, and which seed each slot had."""

    tensors: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    seeds: Mapping[str, str | None]

    @classmethod
    def of(cls, host: GrowingHost, optimizers: Optimizers) -> GoodState:
        """A copy of what is there now."""
        return cls(
            tensors=_copied(host.state_tensors()),
            moments=_copied(optimizers.tensors()),
            seeds={name: slot.seed_id for name, slot in host.slots.items()},
        )

    def put_back(self, host: GrowingHost, optimizers: Optimizers) -> set[str]:
        """Drops the live seeds and puts the host and the fossilised ones back; names what was
        dropped. A seed that was fossilised since stays so, with its earlier parameters."""
        dropped = set()
        for name, slot in host.slots.items():
            if slot.stage in CULLABLE:
                slot.cull(REASON)
                dropped.add(name)
        same = {
            name
            for name, slot in host.slots.items()
            if slot.seed is not None and slot.seed_id == self.seeds.get(name)
        }
        now = host.state_tensors()
        host.load_state_dict(
            {
                name: self.tensors[name] if _is_of(name, same) and name in self.tensors else value
                for name, value in now.items()
            }
        )
        optimizers.restore(
            {
                name: value
                for name, value in self.moments.items()
                if name.partition("/")[0] in {HOST, *same}
            }
        )
        return dropped


def _is_of(tensor: str, slots: set[str]) -> bool:
    """Whether a parameter is the host's, or that of a seed in one of the slots."""
    module, _, rest = tensor.partition(".")
    return module != "slot_modules" or rest.partition(".")[0] in slots


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
