"""The controller's table, and the source's labels."""

from __future__ import annotations

import math

import pytest

from workloads.phase_coupling.config import DriftSettings
from workloads.phase_coupling.cores.drift import Control, DriftController, label_of


def at(r: float, coupling: float = 0.5, **settings: float) -> Control:
    return DriftController(DriftSettings(**settings), coupling).update(r)


@pytest.mark.parametrize(
    ("r", "action", "noise", "scale"),
    [
        (1.0, "BRAKE", 0.045, 0.475),
        (0.75, "BRAKE", 0.02, 0.475),
        (0.55, "NONE", 0.0, 0.5),
        (0.40, "NONE", 0.0, 0.5),
        (0.30, "NONE", 0.0, 0.5),
        (0.2999, "ESCAPE", 0.0, 0.55),
        (0.0, "ESCAPE", 0.0, 0.55),
    ],
)
def test_the_table(r: float, action: str, noise: float, scale: float) -> None:
    control = at(r)
    assert control.action == action
    assert control.noise == pytest.approx(noise)
    assert control.scale == pytest.approx(scale)


def test_noise_has_a_cap() -> None:
    assert at(1.0, most_noise=0.01).noise == 0.01
    assert at(1.0, high=0.31, strength=0.5).noise == 0.2


def test_the_coupling_stays_between_a_tenth_and_five() -> None:
    controller = DriftController(DriftSettings(), 4.9)
    assert controller.update(0.1).scale == 5
    assert controller.update(0.1).scale == 5
    assert controller.update(0.9).scale == pytest.approx(4.75)
    assert at(0.9, coupling=0.1).scale == 0.1
    assert at(0.4, coupling=7.0).scale == 7, "what is not changed is not clipped"


def test_the_coupling_adds_up_over_steps() -> None:
    controller = DriftController(DriftSettings(), 0.5)
    for _ in range(10):
        scale = controller.update(0.95).scale
    assert scale == pytest.approx(0.5 * 0.95**10)
    assert controller.coupling == scale


def test_what_cannot_be_controlled_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        at(math.nan)
    with pytest.raises(ValueError, match="low < high"):
        at(0.5, low=0.6, high=0.5)


@pytest.mark.parametrize(
    ("r", "u", "label"),
    [
        (0.951, None, "BRAKE"),
        (0.95, None, "COAST"),
        (0.80, None, "COAST"),
        (0.799, None, "BOOST"),
        (0.9, 0.5, "COAST"),
        (0.9, 0.19, "BRAKE"),
        (0.1, 0.19, "BRAKE"),
        (0.9, 0.2, "COAST"),
        (0.9, 0.8, "COAST"),
        (0.9, 0.81, "BOOST"),
        (0.96, 0.9, "BRAKE"),
    ],
)
def test_the_sources_labels(r: float, u: float | None, label: str) -> None:
    assert label_of(r, u) == label
