"""A factored action as the numbers of a learner's output heads, and back.

`MaskablePPO` masks each head by itself, but which op is allowed depends on the slot. So op and slot
share a head (WAIT, then each op with each slot), and no action that it can draw is forbidden.
Blueprint and blend are heads of their own; where nothing can be planted only their first choice is
left, so that they add nothing to log probabilities and entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.contracts import FactoredAction
from workloads.morphogenesis.policies.masks import BLENDS, GERMINATE, OPS, WAIT, Masks
from workloads.morphogenesis.view import EpisodeView


@dataclass(frozen=True)
class Heads:
    """The heads for a host: how many choices each has, what each choice means."""

    slots: tuple[str, ...]
    blueprints: tuple[str, ...]

    @classmethod
    def of(cls, view: EpisodeView) -> Heads:
        """The heads for the host of this view."""
        return cls(tuple(slot.name for slot in view.slots), tuple(view.blueprints))

    @property
    def targets(self) -> tuple[FactoredAction, ...]:
        """What the choices of the first head are done to: WAIT, then op by op, slot by slot."""
        pairs = [FactoredAction(op, slot) for op in OPS[1:] for slot in self.slots]
        return (FactoredAction(WAIT), *pairs)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Choices of each head: op and slot, blueprint, blend."""
        return len(self.targets), len(self.blueprints), len(BLENDS)

    def mask(self, may: Masks) -> list[bool]:
        """``[sum(sizes)]`` which choices are left, head after head."""
        targets = [True] + [fine for op in OPS[1:] for fine in may.slots_by_op[op]]
        free = may.slots(GERMINATE)
        plantable = {name for slot in free for name in may.plantable(slot)}
        blendings = {name for slot in free for name in may.blendings(slot)}
        return [
            *targets,
            *_some([name in plantable for name in self.blueprints]),
            *_some([name in blendings for name in BLENDS]),
        ]

    def action(self, choice: Sequence[int], may: Masks) -> FactoredAction:
        """The action that was chosen; what the slot's configuration fixes is taken from there.

        A choice that the mask forbids is to wait.
        """
        target = self.targets[int(choice[0])]
        if target.slot is None or target.slot not in may.slots(target.op):
            return FactoredAction(WAIT)
        if target.op != GERMINATE:
            return target
        blueprint, blend = self.blueprints[int(choice[1])], BLENDS[int(choice[2])]
        plantable, blendings = may.plantable(target.slot), may.blendings(target.slot)
        return FactoredAction(
            GERMINATE,
            target.slot,
            blueprint if blueprint in plantable else plantable[0],
            blend if blend in blendings else blendings[0],
        )


def _some(choices: list[bool]) -> list[bool]:
    """The choices, or the first one if none is left: a head needs one."""
    return choices if any(choices) else [True, *choices[1:]]
