"""The design `fractions`: curves of finished models, and what is asked of them before the run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator.designs import ArmFile, Level, Part, unique_names
from orchestrator.seeds import Seed

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=60)]
"""Names files and metrics."""
DRAW = "draw"
"""The key of a point that says which random draw."""


def _rising(values: Sequence[float] | None) -> None:
    if any(a >= b for a, b in itertools.pairwise(values or ())):
        raise ValueError(
            f"values must rise, got {list(values or ())}: a curve goes from least to largest, "
            "each value once"
        )


class PathFile(Part):
    """One way through the points of a model: what is the same at each of them."""

    point: dict[str, Level] = Field(default={})
    """The point but for the key that it goes along, such as {domain: rows, fill: zero}."""
    along: str | None = Field(default=None, min_length=1)
    """Another key than the design's."""
    values: list[float] | None = Field(default=None, min_length=1)
    """Other values than the design's."""
    draws: list[Seed] = Field(default=[0], min_length=1)
    """Random draws where something in the point is random; else there is but one."""
    of: list[str] = Field(default=[])
    """Arms whose models are asked; empty: all."""
    about: str = ""
    """What the path asks, in a few words; shown in reports, part of no hash."""

    @model_validator(mode="after")
    def _means_one_thing(self) -> PathFile:
        _rising(self.values)
        for what, given in (("draws", self.draws), ("of", self.of)):
            if len(set(given)) != len(given):
                raise ValueError(f"{what} must differ, got {given}")
        if DRAW in self.point:
            raise ValueError(
                f"'{DRAW}' stands in point: list it as draws, e.g. draws: [{self.point[DRAW]}]"
            )
        return self


class CurveFile(Part):
    """A curve: one path on the model of one arm. `at`: its point at that value, everywhere."""

    arm: str
    """The arm whose model is asked."""
    path: str
    """The path's name."""
    at: float | None = None
    """One value of the path that stands for all of it: a level line to compare a curve with."""


class Sharper(Part):
    """Is the rise of a curve narrower than another's? Width: from `low` to `high` of the design."""

    kind: Literal["sharper"]
    curve: CurveFile
    """The curve that is asked about."""
    than: CurveFile
    """The curve that it is compared with."""
    margin: float = Field(gt=0)
    """Widths within this of one another are equal, in the unit of what the path goes along."""
    about: str = ""
    """Why it is asked, in a few words; part of no hash."""


class Higher(Part):
    """Does a curve lie above another, at each value of both?"""

    kind: Literal["higher"]
    curve: CurveFile
    """The curve that is asked about."""
    than: CurveFile
    """The curve that it is compared with."""
    margin: float = Field(gt=0)
    """Differences within this are none, in the unit of the metric."""
    values: list[float] | None = Field(default=None, min_length=1)
    """Values it is asked at; None: all that both have but the last, where all are whole."""
    about: str = ""
    """Why it is asked, in a few words; part of no hash."""

    @field_validator("values")
    @classmethod
    def _values_rise(cls, values: list[float] | None) -> list[float] | None:
        _rising(values)
        return values


class Matched(Part):
    """Does a curve lie above another where both have the same value of another metric?"""

    kind: Literal["matched"]
    curve: CurveFile
    """The curve that is asked about."""
    than: CurveFile
    """The curve that it is compared with."""
    by: str
    """The metric that is matched, such as `relative_l2`."""
    margin: float = Field(gt=0)
    """Differences within this are none, in the unit of the design's metric."""
    about: str = ""
    """Why it is asked, in a few words; part of no hash."""


Question = Annotated[Sharper | Higher | Matched, Field(discriminator="kind")]


class Fractions(Part):
    """Curves: finished models are measured at ordered values along paths.

    An arm is a model; a path says what is asked of it; where it crosses `level`, and over which
    width it goes from `low` to `high`, is estimated with intervals over the examples.
    """

    kind: Literal["fractions"]
    arms: list[ArmFile] = Field(min_length=1)
    """The models."""
    along: str = Field(default="fraction", min_length=1)
    """The key of a point that the paths go along."""
    values: list[float] = Field(min_length=2)
    """The values along the paths, rising."""
    paths: dict[Name, PathFile] = Field(min_length=1)
    """What is asked of each model, by name."""
    metric: str
    """What the curves are of: the metric that subjects score by example."""
    level: float = 0.5
    """A curve's threshold is where it crosses this."""
    low: float = 0.1
    """Widths are measured from here …"""
    high: float = 0.9
    """… to here."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of every interval; those of the questions hold all at once."""
    questions: dict[Name, Question] = Field(default={})
    """Asked before the run; the first is the study's own."""

    @field_validator("arms")
    @classmethod
    def _names_differ(cls, arms: list[ArmFile]) -> list[ArmFile]:
        unique_names(arms)
        for arm in arms:
            if arm.role not in ("arm", "control"):
                raise ValueError(
                    f"arm '{arm.name}' has the role '{arm.role}', which curves do not know: their "
                    "questions say what is compared. Give 'control' to an arm that is shown apart, "
                    "else leave role out"
                )
        return arms

    @field_validator("values")
    @classmethod
    def _values_rise(cls, values: list[float]) -> list[float]:
        _rising(values)
        return values

    @model_validator(mode="after")
    def _levels_rise(self) -> Fractions:
        if not self.low < self.level < self.high:
            raise ValueError(
                f"low, level and high must rise, got {self.low:g}, {self.level:g}, {self.high:g}"
            )
        return self

    def key(self, path: PathFile) -> str:
        """What a path goes along."""
        return path.along or self.along

    def along_values(self, path: PathFile) -> tuple[float, ...]:
        """The values of a path, rising."""
        return tuple(self.values if path.values is None else path.values)

    def arms_of(self, path: PathFile) -> tuple[str, ...]:
        """The arms whose models a path is asked of, in the order of the design."""
        return tuple(arm.name for arm in self.arms if not path.of or arm.name in path.of)
