"""The heuristic policy: one seed at a time, once the host has settled and got stuck.

It learns what happened from the views alone, so that it can also run in the shadow of another
policy and say what it would have done. Its rules and numbers are the origin's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from telemetry.contracts import FactoredAction
from workloads.morphogenesis.policies.base import TrialPolicy
from workloads.morphogenesis.policies.fixed import DEFAULT_BLEND
from workloads.morphogenesis.policies.masks import (
    CULL,
    CULLABLE,
    FOSSILIZE,
    GERMINATE,
    NOTHING,
    WAIT,
    Masks,
    allowed,
)
from workloads.morphogenesis.view import Decision, EpisodeView, SlotView

EARLIEST_EPOCH = 5
PLATEAU_EPOCHS = 3
PLATEAU_POINTS = 0.5
"""An epoch that gains less accuracy than this is one of a plateau."""
STABLE_EPOCHS = 3
STABLE_GAIN = 0.03
"""Relative loss gain below which an epoch counts as stable,"""
STABLE_RISE = 1.5
"""as long as the loss stays below so many times the one before."""
EMBARGO_EPOCHS = 5
FAILING_EPOCHS = 5
FAILING_POINTS = -2.0
PENALTY_PER_CULL = 2.0
PENALTY_DECAY = 0.5
"""Each epoch."""
PENALTY_LIMIT = 3.0
"""A blueprint with this penalty is passed over."""


def plateau_epochs(accuracies: Sequence[float]) -> int:
    """How many of the last epochs in a row gained less than `PLATEAU_POINTS` points."""
    count = 0
    for before, after in zip(reversed(accuracies[:-1]), reversed(accuracies), strict=False):
        if not after - before < PLATEAU_POINTS:
            break
        count += 1
    return count


def has_stabilised(losses: Sequence[float]) -> bool:
    """Whether the host ever had `STABLE_EPOCHS` stable epochs in a row (it then stays stable)."""
    in_a_row = 0
    for before, after in pairwise(losses):
        stable = before - after < STABLE_GAIN * before and after < STABLE_RISE * before
        in_a_row = in_a_row + 1 if stable else 0
        if in_a_row >= STABLE_EPOCHS:
            return True
    return False


class Heuristic(TrialPolicy):
    """See the module. `decide` must see the view in front of every epoch."""

    def __init__(self) -> None:
        self._penalties: dict[str, float] = {}
        self._growing: dict[str, str] = {}
        self._last_planted: str | None = None
        self._last_cull: int | None = None

    def decide(self, view: EpisodeView) -> Decision:
        """First what is on probation, then what fails, then whether to plant."""
        self._learn(view)
        may = allowed(view)
        action, why = self._probation(view) or self._failing(view) or self._planting(view, may)
        return Decision(action, why, masked=may.only_wait)

    def memory(self) -> dict[str, Any]:
        """Penalties by blueprint, what grows where, the last planting and the last cull."""
        return {
            "penalties": self._penalties,
            "growing": self._growing,
            "last_planted": self._last_planted,
            "last_cull": self._last_cull,
        }

    def _recall(self, memory: Mapping[str, Any]) -> None:
        self._penalties = dict(memory["penalties"])
        self._growing = dict(memory["growing"])
        self._last_planted = memory["last_planted"]
        self._last_cull = memory["last_cull"]

    def _learn(self, view: EpisodeView) -> None:
        """What was planted and culled since the view before, by whomever."""
        self._penalties = {name: p * PENALTY_DECAY for name, p in self._penalties.items()}
        growing = {
            slot.name: slot.blueprint
            for slot in view.slots
            if slot.stage in CULLABLE and slot.blueprint is not None
        }
        for slot in view.slots:
            lost = self._growing.get(slot.name)
            if lost is not None and slot.name not in growing and slot.stage != "FOSSILIZED":
                self._penalties[lost] = self._penalties.get(lost, 0.0) + PENALTY_PER_CULL
                self._last_cull = view.epoch
            if slot.name in growing and lost is None:
                self._last_planted = growing[slot.name]
        self._growing = growing

    def _probation(self, view: EpisodeView) -> tuple[FactoredAction, str] | None:
        for slot in view.slots:
            if slot.stage == "PROBATIONARY" and slot.contribution is not None:
                good = slot.contribution > 0
                return (
                    FactoredAction(FOSSILIZE if good else CULL, slot.name),
                    f"{slot.name} contributes {slot.contribution:+.2f} points",
                )
        return None

    def _failing(self, view: EpisodeView) -> tuple[FactoredAction, str] | None:
        for slot in view.slots:
            if _fails(slot):
                return (
                    FactoredAction(CULL, slot.name),
                    f"{slot.name} changed accuracy by {slot.stage_improvement:+.2f} points in "
                    f"{_epochs(slot.epochs_in_stage)} of {slot.stage}",
                )
        return None

    def _planting(self, view: EpisodeView, may: Masks) -> tuple[FactoredAction, str]:
        wait = FactoredAction(WAIT)
        stuck = plateau_epochs(view.val_accuracies)
        if self._growing:
            return wait, f"{', '.join(self._growing)} still grows"
        if view.epoch < EARLIEST_EPOCH:
            return wait, f"before epoch {EARLIEST_EPOCH}"
        if not has_stabilised(view.val_losses):
            return wait, "the host has not stabilised"
        if stuck < PLATEAU_EPOCHS:
            return wait, f"{_epochs(stuck)} without gain, {PLATEAU_EPOCHS} make a plateau"
        if self._last_cull is not None and view.epoch - self._last_cull < EMBARGO_EPOCHS:
            return wait, f"embargo since the cull at epoch {self._last_cull}"
        for slot in may.slots(GERMINATE):
            blueprint = self._next(may.plantable(slot))
            if blueprint is not None:
                blend = DEFAULT_BLEND
                if blend not in (choices := may.blendings(slot)):
                    blend = choices[0]
                why = f"no gain for {_epochs(stuck)}; {blueprint} is next"
                return FactoredAction(GERMINATE, slot, blueprint, blend), why
        return wait, "no free slot, or every blueprint was culled too often"

    def _next(self, blueprints: Sequence[str]) -> str | None:
        """The first after the one planted last that was not culled too often."""
        names = [name for name in blueprints if name != NOTHING] or list(blueprints)
        start = names.index(self._last_planted) + 1 if self._last_planted in names else 0
        for name in [*names[start:], *names[:start]]:
            if self._penalties.get(name, 0.0) < PENALTY_LIMIT:
                return name
        return None


def _epochs(count: int) -> str:
    return f"{count} epoch" if count == 1 else f"{count} epochs"


def _fails(slot: SlotView) -> bool:
    return (
        slot.stage in CULLABLE
        and slot.epochs_in_stage >= FAILING_EPOCHS
        and slot.stage_improvement is not None
        and slot.stage_improvement < FAILING_POINTS
    )
