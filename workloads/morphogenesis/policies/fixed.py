"""Policies that follow a plan: none, static, schedule; and the random one."""

from __future__ import annotations

import random
from collections.abc import Mapping

from telemetry.contracts import FactoredAction
from workloads.morphogenesis.config import SlotSettings
from workloads.morphogenesis.policies.base import TrialPolicy
from workloads.morphogenesis.policies.masks import FOSSILIZE, GERMINATE, OPS, WAIT, allowed
from workloads.morphogenesis.view import Decision, EpisodeView
from workloads.training.streams import stream_seed

DEFAULT_BLEND = "sigmoid"


class Waiting(TrialPolicy):
    """Never does anything: for a host that grows nothing, and for one grown from the start."""

    def __init__(self, why: str) -> None:
        self._why = why

    def decide(self, view: EpisodeView) -> Decision:
        """WAIT."""
        return Decision(FactoredAction(WAIT), self._why, masked=allowed(view).only_wait)


class Schedule(TrialPolicy):
    """Plants each slot's seed at its stated epoch and fossilises it as soon as it is on probation.

    All that is due is done at once (`Decision.also`): otherwise a slot's seed would wait for the
    other slots', and arms that differ in one slot would differ in more.
    """

    def __init__(self, slots: Mapping[str, SlotSettings]) -> None:
        self._slots = slots

    def decide(self, view: EpisodeView) -> Decision:
        """All that is due now; WAIT if nothing is."""
        may = allowed(view)
        due = [
            FactoredAction(
                GERMINATE,
                slot.name,
                self._slots[slot.name].blueprint or may.plantable(slot.name)[0],
                self._slots[slot.name].blend or DEFAULT_BLEND,
            )
            for slot in view.slots
            if slot.name in may.slots(GERMINATE)
            and self._slots[slot.name].germinate_at == view.epoch
        ]
        due += [FactoredAction(FOSSILIZE, slot) for slot in may.slots(FOSSILIZE)]
        if not due:
            return Decision(FactoredAction(WAIT), "nothing is scheduled", masked=may.only_wait)
        names = ", ".join(str(action) for action in due)
        return Decision(due[0], f"as scheduled: {names}", masked=False, also=tuple(due[1:]))


class Random(TrialPolicy):
    """Draws an op, then a slot, a blueprint and a blend, each evenly from what is allowed.

    Its numbers are keyed by the epoch, so that it needs no memory.
    """

    def __init__(self, seed: int, stream: str = "policy/random") -> None:
        self._seed, self._stream = seed, stream

    def decide(self, view: EpisodeView) -> Decision:
        """A random allowed action."""
        draw = random.Random(stream_seed(self._seed, f"{self._stream}/{view.epoch}"))
        may = allowed(view)
        op = draw.choice([op for op, fine in zip(OPS, may.ops, strict=True) if fine])
        action = FactoredAction(WAIT)
        if op != WAIT:
            slot = draw.choice(may.slots(op))
            action = FactoredAction(op, slot)
            if op == GERMINATE:
                blueprint = draw.choice(may.plantable(slot))
                action = FactoredAction(op, slot, blueprint, draw.choice(may.blendings(slot)))
        return Decision(action, "drawn at random", masked=may.only_wait)
