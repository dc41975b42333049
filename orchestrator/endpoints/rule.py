"""Which figures decide a study, against which arm, and what counts as no effect: `endpoints:`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, model_validator

from orchestrator.designs import Part

SERIES = frozenset({"steps", "layers"})
"""Splits whose units follow one another."""


class Endpoint(Part):
    """A column of the scores, compared arm by arm with `against`.

    *No effect*: the whole interval of the difference lies within ±`margin`. *Effect*: it excludes 0
    and not all of it lies within. *Identical*: every paired score is equal, and nothing is tested.
    Anything else is *inconclusive*. Arms whose role is control answer whether the study can be
    believed rather than what it asks, and are told apart.
    """

    column: str
    """A column of the scores."""
    split: str = "texts"
    """The split of the scores that has the units."""
    against: str
    """The arm that the others are compared with."""
    arms: tuple[str, ...] = ()
    """Empty: every arm but `against`."""
    margin: float = Field(gt=0, allow_inf_nan=False)
    """In the unit of the column. What is smaller does not matter here."""
    primary: bool = True
    """Primary endpoints answer the study, and their ends are simultaneous; others describe."""
    unit: str = ""
    """The word after a difference; it decides nothing."""
    about: str = ""
    """What the column measures, in a few words; shown in reports, part of no hash."""

    @model_validator(mode="after")
    def _compares_two(self) -> Endpoint:
        if self.against in self.arms:
            raise ValueError(
                f"'{self.against}' would be compared with itself: leave it out of arms"
            )
        if repeated := sorted({name for name in self.arms if self.arms.count(name) > 1}):
            raise ValueError(f"arms names {', '.join(repeated)} more than once")
        return self

    def canonical(self) -> dict[str, Any]:
        """As plain JSON data for hashing: `unit` and `about` are presentation."""
        return self.model_dump(mode="json", exclude={"unit", "about"})

    @property
    def over_seeds(self) -> bool:
        """Whether the units are places along a run or a model: no sample of anything, so that
        intervals are over seeds alone."""
        return self.split in SERIES


def family_of(primary: bool, control: bool) -> tuple[bool, bool]:
    """Which comparisons share their error, as (primary, control): all that the answer tells, and of
    the others those with controls and those without."""
    return primary, control and not primary


def compared_arms(endpoint: Endpoint, arms: Iterable[str]) -> tuple[str, ...]:
    """The arms that an endpoint compares, of all that the design has, in its order."""
    return endpoint.arms or tuple(name for name in arms if name != endpoint.against)
