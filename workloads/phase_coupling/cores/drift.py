"""What is done about R: the controller that acts, and the labels that only name. Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from workloads.phase_coupling.config import DriftSettings

Action = Literal["BRAKE", "ESCAPE", "NONE"]
Label = Literal["BRAKE", "BOOST", "COAST"]
LEAST_COUPLING, MOST_COUPLING = 0.1, 5.0


@dataclass(frozen=True)
class Control:
    """What a core is to do from now on: `core.steer(control)`."""

    action: Action
    noise: float
    """Standard deviation, in radians, of what is added to phases at a step. 0: nothing."""
    scale: float
    """The coupling itself, K or k_scale: no factor of it."""


class DriftController:
    """Keeps R in a range.

    Above `high`: noise of (R - high) * 2 strength, at most `most_noise`, and the coupling times
    1 - strength. Below `low`: the coupling times 1 + 2 strength. The coupling stays within 0.1 to 5
    whenever it is changed: the origin states these bounds once, behind the rise, but the lower one
    can only be met where the coupling falls. Between `low` and `high` nothing is done. With the
    default settings these are the origin's 0.1, 0.2, 0.95 and 1.10.

    `coupling` is what the core starts with (`core.coupling`), and afterwards what it is now: to go
    on from a checkpoint, make one with the coupling of the core that was loaded.
    """

    def __init__(self, settings: DriftSettings, coupling: float) -> None:
        if settings.low > settings.high:
            raise ValueError(
                f"the range of R ends ({settings.high}) below where it begins ({settings.low}); "
                "give low < high"
            )
        self.settings = settings
        self.coupling = coupling

    def update(self, r: float) -> Control:
        """What to do at this R. Raises `ValueError` where R is not a number."""
        if math.isnan(r):
            raise ValueError("R is not a number: the oscillators diverged")
        settings = self.settings
        if r > settings.high:
            self._scaled(1 - settings.strength)
            noise = min((r - settings.high) * 2 * settings.strength, settings.most_noise)
            return Control("BRAKE", noise, self.coupling)
        if r < settings.low:
            self._scaled(1 + 2 * settings.strength)
            return Control("ESCAPE", 0.0, self.coupling)
        return Control("NONE", 0.0, self.coupling)

    def _scaled(self, factor: float) -> None:
        self.coupling = min(max(self.coupling * factor, LEAST_COUPLING), MOST_COUPLING)


def label_of(r: float, u: float | None = None) -> Label:
    """The source's label for a step: named, and nothing done.

    BRAKE where R > 0.95, BOOST where R < 0.80, else COAST. With the normalised entropy u: BRAKE
    also where u < 0.2, BOOST also where u > 0.8; BRAKE goes first.
    """
    if r > 0.95 or (u is not None and u < 0.2):
        return "BRAKE"
    if r < 0.80 or (u is not None and u > 0.8):
        return "BOOST"
    return "COAST"
