"""One cell of a calibration's grid: studies with a known answer, simulated and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

Part = Literal["verdict", "curves", "alarms", "endpoints", "claims", "effects"]
"""The parts of a study file that judge anything."""


@dataclass(frozen=True)
class Counts:
    """What came of simulated studies; counts of studies that were simulated apart add up.

    Attributes:
        studies: how many.
        wrong: studies of which anything that the verdict says is false.
        intervals, covered: intervals that were given, and those of them that hold the truth.
        families, families_covered: sets of simultaneous intervals, and those all of which hold.
        effects, found: true effects, and those of them that were called what they are.
    """

    studies: int = 0
    wrong: int = 0
    intervals: int = 0
    covered: int = 0
    families: int = 0
    families_covered: int = 0
    effects: int = 0
    found: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            **{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        )


@dataclass(frozen=True)
class Cell(ABC):
    """What is simulated: all it takes, so that it can be sent to another process.

    Attributes:
        part: whose rule is applied.
        name: of the cell among those of its part; what is drawn follows from the seed of the
            calibration, the part and the name.
        conditions: what the cell assumes, for a table: name and value of each.
        effect: the true difference, in units of the metric; None where there is none to find. A
            cell with one tells power, and one without false positives.
    """

    part: Part
    name: str
    conditions: Mapping[str, str | float] = field(default_factory=dict)
    effect: float | None = None

    @abstractmethod
    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies, drawn and judged by the rule as the product judges them."""
