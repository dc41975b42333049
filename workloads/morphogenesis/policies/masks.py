"""Which actions are allowed in front of an epoch: what a policy may choose from.

An action has four parts: op, slot, blueprint, blend. Which op is allowed depends on the slot, so
the two are masked together; blueprint and blend only matter to GERMINATE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from telemetry.contracts import FactoredAction
from workloads.morphogenesis.view import EpisodeView, SlotView

WAIT, GERMINATE, CULL, FOSSILIZE = OPS = ("WAIT", "GERMINATE", "CULL", "FOSSILIZE")
BLENDS = ("linear", "sigmoid", "gated")

CULLABLE = ("GERMINATED", "TRAINING", "BLENDING", "PROBATIONARY")
"""A fossilised seed stays for good."""
NOTHING = "noop"
"""The blueprint of no parameters. A policy never chooses it; a configuration may."""


@dataclass(frozen=True)
class Masks:
    """What is allowed in a view. Sequences are in the order of `OPS`, slots, blueprints, `BLENDS`.

    Attributes:
        slots_by_op: for each op but WAIT, ``[slots]`` whether it may be done to that slot.
        blueprints: ``[slots][blueprints]`` whether it may be planted there.
        blends: ``[slots][blends]`` whether it may be blended in that way.
    """

    slot_names: tuple[str, ...]
    blueprint_names: tuple[str, ...]
    slots_by_op: Mapping[str, tuple[bool, ...]]
    blueprints: tuple[tuple[bool, ...], ...]
    blends: tuple[tuple[bool, ...], ...]

    @property
    def ops(self) -> tuple[bool, ...]:
        """``[ops]`` whether the op is allowed on any slot; WAIT always is."""
        return (True, *(any(self.slots_by_op[op]) for op in OPS[1:]))

    @property
    def only_wait(self) -> bool:
        """Whether nothing is left but to wait."""
        return not any(self.ops[1:])

    def slots(self, op: str) -> tuple[str, ...]:
        """The slots to which `op` may be done."""
        return tuple(
            name for name, may in zip(self.slot_names, self.slots_by_op[op], strict=True) if may
        )

    def plantable(self, slot: str) -> tuple[str, ...]:
        """The blueprints that may be planted in a slot, were it free."""
        row = self.blueprints[self.slot_names.index(slot)]
        return tuple(name for name, may in zip(self.blueprint_names, row, strict=True) if may)

    def blendings(self, slot: str) -> tuple[str, ...]:
        """The ways in which a seed of this slot may be blended in."""
        row = self.blends[self.slot_names.index(slot)]
        return tuple(name for name, may in zip(BLENDS, row, strict=True) if may)

    def actions(self) -> Iterator[FactoredAction]:
        """Every allowed action, WAIT first."""
        yield FactoredAction(WAIT)
        for slot in self.slots(GERMINATE):
            for blueprint in self.plantable(slot):
                for blend in self.blendings(slot):
                    yield FactoredAction(GERMINATE, slot, blueprint, blend)
        for op in (CULL, FOSSILIZE):
            for slot in self.slots(op):
                yield FactoredAction(op, slot)

    def permits(self, action: FactoredAction) -> bool:
        """Whether the action is one of `actions`."""
        if action.op == WAIT:
            return action.slot is None
        if action.op not in OPS or action.slot not in self.slots(action.op):
            return False
        if action.op != GERMINATE:
            return action.blueprint is None and action.blend is None
        return action.blueprint in self.plantable(action.slot) and action.blend in self.blendings(
            action.slot
        )


def allowed(view: EpisodeView) -> Masks:
    """What may be done in front of the next epoch.

    GERMINATE in a dormant slot without embargo, CULL what grows and is not fossilised, FOSSILIZE
    what is on probation. What a slot's configuration fixes is the only choice there.
    """
    names = tuple(view.blueprints)
    return Masks(
        slot_names=tuple(slot.name for slot in view.slots),
        blueprint_names=names,
        slots_by_op={
            GERMINATE: tuple(_may_germinate(slot, names) for slot in view.slots),
            CULL: tuple(slot.stage in CULLABLE for slot in view.slots),
            FOSSILIZE: tuple(slot.stage == "PROBATIONARY" for slot in view.slots),
        },
        blueprints=tuple(_blueprints(slot, names) for slot in view.slots),
        blends=tuple(_fixed(slot.allowed_blend, BLENDS) for slot in view.slots),
    )


def _may_germinate(slot: SlotView, names: Sequence[str]) -> bool:
    return slot.stage == "DORMANT" and slot.embargo_left == 0 and any(_blueprints(slot, names))


def _blueprints(slot: SlotView, names: Sequence[str]) -> tuple[bool, ...]:
    if slot.allowed_blueprint is None:
        return tuple(name != NOTHING for name in names)
    return _fixed(slot.allowed_blueprint, names)


def _fixed(choice: str | None, names: Sequence[str]) -> tuple[bool, ...]:
    return tuple(choice is None or name == choice for name in names)
