"""What is said of curves: plain, frozen data. None is "not measured" or "not told", never 0."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

SHARPER, LESS_SHARP, AS_SHARP = "sharper", "less sharp", "as sharp within the margin"
HIGHER, LOWER, EQUAL = "higher", "lower", "equal within the margin"
MIXED = "higher at some values, lower at others"
IDENTICAL = "identical"
INCONCLUSIVE = "inconclusive"
NOT_ANSWERED = "n/a"


@dataclass(frozen=True)
class CurvePoint:
    """A curve at one value of what it goes along.

    Attributes:
        mean: of the metric over draws and examples; its interval is its own, over examples.
        fit: of the isotonic fit: of all curves that never fall (or never rise), the one that is
            nearest to the means.
        draws: random draws that are averaged; `draw_sd`: of their means, None for one.
        metrics: every metric that was measured, the mean over draws.
        spreads: standard errors over examples, of metrics that come with one.
        notes: text by draw, such as what the model wrote.
        problem: why there is no mean; empty where there is one.
    """

    value: float
    mean: float | None
    low: float | None = None
    high: float | None = None
    fit: float | None = None
    draws: int = 1
    draw_sd: float | None = None
    metrics: dict[str, float | None] = dataclasses.field(default_factory=dict)
    spreads: dict[str, float | None] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Crossing:
    """Where the fit first passes a level, in the unit of what the curve goes along.

    Attributes:
        at: None where it lies outside the grid.
        outside: on which side of the grid, if it does.
        low, high: ends of the interval; None with `open_low` or `open_high`: the crossing may lie
            before the first value, or nowhere up to the last.
        step: distance of the two measured values around it: between them it is a straight line.
    """

    level: float
    at: float | None
    outside: Literal["", "below", "above"] = ""
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Width:
    """The distance of two crossings. `censored`: one of them may lie outside the grid, so that
    `value` is the least it can be, and there is no upper end."""

    value: float | None
    low: float | None = None
    high: float | None = None
    censored: bool = False
    step: float | None = None
    """Sum of the steps of the grid at both ends."""


@dataclass(frozen=True)
class Curve:
    """One path on the model of one arm.

    Attributes:
        along, rising: the key that its values are of; whether the fit never falls (or never rises).
        threshold: crossing of the design's `level`; None without a complete curve.
        width: from its `low` to its `high`.
        models, examples, clusters: how many; None where there are no scores by example.
        problems: what is missing or failed; with any there is no threshold and no width.
    """

    arm: str
    path: str
    along: str
    metric: str
    unit: str
    rising: bool
    points: tuple[CurvePoint, ...]
    threshold: Crossing | None = None
    width: Width | None = None
    about: str = ""
    role: str = "arm"
    models: int = 1
    examples: int | None = None
    clusters: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`ARM/PATH`."""
        return f"{self.arm}/{self.path}"


@dataclass(frozen=True)
class ValueAnswer:
    """A difference at one value (of what the curves go along, or of what is matched)."""

    value: float
    difference: float | None
    low: float | None
    high: float | None
    label: str


@dataclass(frozen=True)
class CurveAnswer:
    """What a stated question came to.

    Attributes:
        name, kind: in the study file.
        curve, than: names of the curves.
        difference, low, high: of widths; None where the answer is by value.
        margin, unit: of the difference.
        family: questions over which the ends are simultaneous.
        values: by value, simultaneous over them too.
        sentence: the answer in words; `why`: what the numbers do not say.
        examples: it was asked of; None where nothing was.
        takes: of an inconclusive one, how many examples would make an interval of half the margin
            either way, estimated from this one; None where it is as narrow, there is none, or it
            holds the scatter of random draws.
        draws: the fewest random draws of a curve that has several; None where none has.
    """

    name: str
    kind: Literal["sharper", "higher", "matched"]
    about: str
    curve: str
    than: str
    label: str
    sentence: str
    margin: float
    unit: str
    confidence: float
    family: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[ValueAnswer, ...] = ()
    why: str = ""
    examples: int | None = None
    takes: int | None = None
    draws: int | None = None


@dataclass(frozen=True)
class StudyCurves:
    """All curves of a study and the answers to its questions. `answer`: to the first of them.
    `limits`: what metrics cannot be below and above."""

    metric: str
    confidence: float
    level: float
    low: float
    high: float
    curves: tuple[Curve, ...]
    answers: tuple[CurveAnswer, ...]
    answer: str
    state: Literal["answered", "no verdict yet", "no question"]
    notes: tuple[str, ...] = ()
    limits: dict[str, tuple[float | None, float | None]] = dataclasses.field(default_factory=dict)

    def find(self, arm: str, path: str) -> Curve | None:
        """One curve, or None."""
        return next((one for one in self.curves if (one.arm, one.path) == (arm, path)), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `report --json`."""
        from orchestrator.verdict.result import plain

        data: dict[str, Any] = plain(dataclasses.asdict(self))
        return data
