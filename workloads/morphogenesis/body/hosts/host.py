"""What all hosts have in common: slots in order, a cut into segments, a state to keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from workloads.morphogenesis.body.life import LifeTerms, SlotLife
from workloads.morphogenesis.body.naming import named_slots, slot_names
from workloads.morphogenesis.body.sizes import slot_widths
from workloads.morphogenesis.body.slot import Slot
from workloads.morphogenesis.config import MorphogenesisConfig


@dataclass(frozen=True)
class HostSegment:
    """The slot in front of a part of the host (if it is a named one), then that part."""

    factors: tuple[int, ...]
    slot: Slot | None
    part: nn.Module

    def run(self, x: Tensor, on: tuple[bool, ...]) -> Tensor:
        """`on` holds the state of the slot, if there is one."""
        if self.slot is not None:
            x = self.slot.run(x, on[0])
        return self.part(x)  # type: ignore[no-any-return]


class GrowingHost(nn.Module):
    """A host network with the slots that a configuration names.

    The host is a row of parts with a slot after each but the last. Slots that are not named are not
    there at all. Host and seeds draw from streams of their own, so that an empty slot, named or
    not, changes no number.

    Attributes:
        config: as given; without slots where `params_ratio` asks for a larger host instead.
        seed: of the replicate.
        host_params: parameters without those of seeds.
    """

    def __init__(self, config: MorphogenesisConfig, seed: int, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.parts = nn.ModuleList(parts)
        terms, widths = LifeTerms.of(config), slot_widths(config)
        self.slot_modules = nn.ModuleDict(
            {
                name: Slot(name, config.host, widths[name], terms, settings)
                for name, settings in named_slots(config).items()
            }
        )
        self.host_params = sum(parameter.numel() for parameter in self.host_parameters())

    @property
    def slots(self) -> dict[str, Slot]:
        """The named slots in their order along the network."""
        return {name: slot for name, slot in self.slot_modules.items() if isinstance(slot, Slot)}

    @property
    def seed_params(self) -> int:
        """Parameters of all seeds, the fossilised ones too."""
        return sum(slot.seed_params for slot in self.slots.values())

    @property
    def fossilized_params(self) -> int:
        """Parameters of the seeds that are part of the host for good."""
        return sum(s.seed_params for s in self.slots.values() if s.stage == "FOSSILIZED")

    @property
    def total_params(self) -> int:
        return self.host_params + self.seed_params

    def host_parameters(self) -> Iterator[nn.Parameter]:
        """The host's own, in a fixed order."""
        return self.parts.parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Logits: [batch, classes] of a CNN, [batch, tokens, vocabulary] of a GPT."""
        for slot, part in zip(self._slots_before(), self.parts, strict=True):
            if slot is not None:
                x = slot(x)
            x = part(x)
        return x

    def segments(self) -> list[HostSegment]:
        """The host cut where its slots are; factor k is the k-th named slot.

        Each segment begins with its slot. To run them, begin with the model's input.
        """
        factors = {name: index for index, name in enumerate(self.slots)}
        return [
            HostSegment(() if slot is None else (factors[slot.name],), slot, part)
            for slot, part in zip(self._slots_before(), self.parts, strict=True)
        ]

    @contextmanager
    def switched(self, on: frozenset[str]) -> Iterator[None]:
        """Within the block just the slots of these names are on, at their current alpha.

        Raises ValueError for a name that is no slot of this host.
        """
        slots = self.slots
        if strange := sorted(on - set(slots)):
            raise ValueError(f"no slot {', '.join(strange)}; slots: {', '.join(slots) or 'none'}")
        with ExitStack() as stack:
            for name, slot in slots.items():
                stack.enter_context(slot.switched(name in on))
            yield

    def state_tensors(self) -> dict[str, Tensor]:
        """Every parameter of host and seeds by name. Not copied."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}

    def lifecycle(self) -> dict[str, Any]:
        """Of every slot, as plain JSON."""
        return {name: slot.lifecycle() for name, slot in self.slots.items()}

    def restore(self, tensors: Mapping[str, Tensor], lifecycle: Mapping[str, Any]) -> None:
        """Becomes what `state_tensors` and `lifecycle` told: seeds are planted as needed.

        Parameters of the host stay the same objects, those of seeds are new ones. Slots of this
        host that `lifecycle` does not tell of must be empty there, and become so here. Raises
        ValueError if it tells of a slot that this host lacks.
        """
        self.restore_lifecycle(lifecycle)
        self.load_state_dict(dict(tensors), strict=True)

    def restore_lifecycle(self, lifecycle: Mapping[str, Any]) -> None:
        """As `restore`, but for the tensors: the host's stay, seeds have those they began with."""
        slots = self.slots
        if strange := sorted(set(lifecycle) - set(slots)):
            raise ValueError(
                f"the state is of a host with the slots {', '.join(lifecycle)}; this one lacks "
                f"{', '.join(strange)}"
            )
        for name, slot in slots.items():
            slot.restore_lifecycle(lifecycle.get(name) or SlotLife(name, slot.life.terms).to_json())

    def state(self) -> dict[str, Any]:
        """A copy of both: `{"tensors": ..., "lifecycle": ...}`, on the CPU."""
        tensors = {name: tensor.cpu().clone() for name, tensor in self.state_tensors().items()}
        return {"tensors": tensors, "lifecycle": self.lifecycle()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Becomes what `state` gave; as `restore`."""
        self.restore(state["tensors"], state["lifecycle"])

    def _slots_before(self) -> list[Slot | None]:
        """The slot in front of each part."""
        slots = self.slots
        return [None, *(slots.get(name) for name in slot_names(self.config))]
