"""Views to decide on, and a small simulated episode with the lifecycle's shape."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from telemetry.contracts import Stage
from workloads.morphogenesis.policies.masks import CULL, FOSSILIZE, GERMINATE, allowed
from workloads.morphogenesis.view import Decision, EpisodeView, SlotView

BLUEPRINTS = ("noop", "norm", "conv_light", "conv_heavy")


def slot(name: str = "early", stage: Stage = "DORMANT", epochs: int = 0, **more: Any) -> SlotView:
    """A slot; what is planted is a conv_light of 100 parameters."""
    if stage not in ("DORMANT", "CULLED", "EMBARGOED", "RESETTING"):
        more = {"blueprint": "conv_light", "seed_params": 100, **more}
    return SlotView(name, stage, epochs, more.pop("alpha", 0.0), **more)


def view(*slots: SlotView, accuracies: tuple[float, ...] = (), **more: Any) -> EpisodeView:
    """An episode of 25 epochs with a host of 1,000 parameters, after as many as accuracies."""
    losses = tuple(2.3 for _ in accuracies)
    given = {
        "epoch": len(accuracies), "max_epochs": 25, "train_losses": losses, "val_losses": losses,
        "val_accuracies": accuracies, "slots": slots or (slot(),), "host_params": 1000,
        "classes": 10, "blueprints": BLUEPRINTS, "blueprint_params": {},
    }  # fmt: skip
    return EpisodeView(**{**given, **more})


def settled(*slots: SlotView, epochs: int = 6) -> EpisodeView:
    """A host whose loss and accuracy no longer move."""
    return view(*slots, accuracies=(60.0,) * epochs)


@dataclass(frozen=True)
class Done:
    """What an epoch of the simulation reports."""

    applied: bool = True
    rolled_back: bool = False


@dataclass
class SimulatedEpisode:
    """Accuracy rises by itself a little, and by 12 points with a seed that is blended in.

    A seed is on probation three epochs after it was planted.
    """

    stream: str = ""
    max_epochs: int = 8
    epoch: int = 0
    names: tuple[str, ...] = ("early", "mid")
    slots: dict[str, SlotView] = field(default_factory=dict)
    accuracies: list[float] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = {name: slot(name) for name in self.names}
        self.draw = random.Random(self.stream)

    def view(self) -> EpisodeView:
        return view(
            *self.slots.values(), accuracies=tuple(self.accuracies), max_epochs=self.max_epochs
        )

    @property
    def done(self) -> bool:
        return self.epoch >= self.max_epochs

    def step(self, decision: Decision) -> Done:
        action = decision.action
        assert allowed(self.view()).permits(action), action
        self.actions.append(str(action))
        if action.slot is not None:
            here = self.slots[action.slot]
            if action.op == GERMINATE:
                here = slot(action.slot, "GERMINATED", accuracy_at_germination=self._accuracy)
            elif action.op == CULL:
                here = slot(action.slot)
            elif action.op == FOSSILIZE:
                here = replace(here, stage="FOSSILIZED", epochs_in_stage=0)
            self.slots[action.slot] = here
        self.epoch += 1
        for name, one in self.slots.items():
            self.slots[name] = self._later(one)
        on = sum(one.stage in ("PROBATIONARY", "FOSSILIZED") for one in self.slots.values())
        self.accuracies.append(50 + self.epoch + 12.0 * on + self.draw.random())
        return Done()

    @property
    def _accuracy(self) -> float:
        return self.accuracies[-1] if self.accuracies else 50.0

    def _later(self, one: SlotView) -> SlotView:
        following: dict[str, Stage] = {
            "GERMINATED": "TRAINING", "TRAINING": "BLENDING", "BLENDING": "PROBATIONARY",
        }  # fmt: skip
        stage = following.get(one.stage)
        if stage is None:
            return replace(one, epochs_in_stage=one.epochs_in_stage + 1)
        grown = stage == "PROBATIONARY"
        return replace(
            one,
            stage=stage,
            epochs_in_stage=1,
            alpha=float(grown),
            contribution=12.0 if grown else 0.0,
            total_improvement=12.0 if grown else 0.0,
        )
