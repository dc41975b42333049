"""What a learned policy sees: an episode's view as a vector of fixed length, each entry named.

Entries are scaled to about [-1, 1] and clipped to [-5, 5]. What was not measured is 0, and an entry
beside it says whether it was measured: a network can't read a missing value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from workloads.morphogenesis.policies.masks import allowed
from workloads.morphogenesis.view import EpisodeView, SlotView

STAGES = ("DORMANT", "GERMINATED", "TRAINING", "BLENDING", "PROBATIONARY", "FOSSILIZED")
"""A slot that is in none of these is in embargo or being reset."""
LIMIT = 5.0
POINTS = 10.0
"""So many percentage points are 1."""


def observe(view: EpisodeView) -> tuple[float, ...]:
    """``[entries]`` the view as a vector; see `entry_names` for what each is."""
    return tuple(max(-LIMIT, min(LIMIT, value)) for _, value in entries(view))


def entry_names(view: EpisodeView) -> tuple[str, ...]:
    """The name of each entry; depends on the host only."""
    return tuple(name for name, _ in entries(view))


def entries(view: EpisodeView) -> Iterator[tuple[str, float]]:
    """Name and unclipped value of each entry."""
    losses, accuracies = view.val_losses, view.val_accuracies
    chance = math.log(max(view.classes, 2))
    yield "time", view.epoch / view.max_epochs
    yield "time left", (view.max_epochs - view.epoch) / POINTS
    yield "measured", float(bool(accuracies))
    yield "accuracy", accuracies[-1] / 100 if accuracies else 0.0
    yield "best accuracy", max(accuracies) / 100 if accuracies else 0.0
    yield "gain", _gain(accuracies, 1) / POINTS
    yield "gain over 3", _gain(accuracies, 3) / POINTS
    yield "loss", _finite(losses[-1]) / chance if losses else 0.0
    yield "loss change", _finite(losses[-1] - losses[-2]) / chance if len(losses) > 1 else 0.0
    train = view.train_losses
    overfit = _finite(losses[-1] - train[-1]) / chance if losses and train else 0.0
    yield "loss above training's", overfit
    yield "growth", sum(slot.seed_params for slot in view.slots) / view.host_params
    free = allowed(view).slots("GERMINATE")
    for slot in view.slots:
        for name, value in _slot_entries(slot, view, slot.name in free):
            yield f"{slot.name}: {name}", value


def _slot_entries(slot: SlotView, view: EpisodeView, free: bool) -> Iterator[tuple[str, float]]:
    for stage in STAGES:
        yield stage.lower(), float(slot.stage == stage)
    yield "free", float(free)
    yield "epochs in stage", slot.epochs_in_stage / POINTS
    yield "alpha", slot.alpha
    yield from _maybe("contribution", slot.contribution, POINTS)
    yield from _maybe("improvement", slot.total_improvement, POINTS)
    yield from _maybe("stage improvement", slot.stage_improvement, POINTS)
    yield from _maybe("gradient ratio", slot.gradient_ratio, 10.0)
    yield "embargo", slot.embargo_left / 5
    yield "size", slot.seed_params / view.host_params
    for blueprint in view.blueprints:
        yield blueprint, float(slot.blueprint == blueprint)


def _maybe(name: str, value: float | None, scale: float) -> Iterator[tuple[str, float]]:
    yield name, 0.0 if value is None else _finite(value) / scale
    yield f"{name} measured", float(value is not None)


def _gain(values: Sequence[float], epochs: int) -> float:
    return values[-1] - values[-1 - epochs] if len(values) > epochs else 0.0


def _finite(value: float) -> float:
    """A loss that blew up is shown as the largest the vector can hold."""
    return value if math.isfinite(value) else 1e6
