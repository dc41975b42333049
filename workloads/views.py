"""A study as a workload's `summarise` sees it: plain data, no way back. No torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TrialView:
    """A trial as a study's summary sees it. `config` is resolved; `artifacts` None if not kept."""

    identity: str
    label: str
    arm: str
    role: str
    seed: int
    state: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    flags: frozenset[str]
    artifacts: Path | None
    seconds: float | None = None


@dataclass(frozen=True)
class Estimate:
    """An estimate with the ends of its interval; None: not measured, or no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CurveView:
    """A curve as a study's summary sees it: the model of one arm, measured along one path.

    Attributes:
        along: the key of a point that the path goes along, such as `fraction`.
        point: the rest of the points, the same at each value.
        values: [values] where it was measured, in order.
        metrics: name -> [values], means over draws.
        notes: [values][draws] the text that was kept with each point; None where there is none.
    """

    arm: str
    role: str
    path: str
    along: str
    point: Mapping[str, Any]
    values: Sequence[float]
    metrics: Mapping[str, Sequence[Estimate]]
    notes: Sequence[Sequence[str | None]] = ()


@dataclass(frozen=True)
class EndpointView:
    """A comparison of two arms as a study's summary sees it.

    Attributes:
        endpoint: its name in the study file; `column`, `split`: what is compared.
        difference: arm minus `against`, paired by seed and unit, with its simultaneous interval.
        mean, against_mean: of either arm, over what was paired.
        margin: below which a difference does not matter.
        label: what it comes to, such as `no effect`; `why`: what the numbers do not say.
        by_seed: each seed's own difference; None where it is not finite.
    """

    endpoint: str
    arm: str
    against: str
    column: str
    split: str
    unit: str
    margin: float
    primary: bool
    label: str
    why: str
    difference: Estimate
    mean: float | None
    against_mean: float | None
    by_seed: Mapping[int, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SummaryTable:
    """A table that a workload's summary adds to the report, as text; `numbers` are the columns
    that are aligned to the right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class StudyView:
    """A study as a workload's `summarise` sees it: plain data, no way back."""

    name: str
    instance: str
    question: str
    trials: Sequence[TrialView]
    table: pd.DataFrame
    """One row per arm: arm, role, n, mean, ci_low, ci_high, delta, delta_ci_low, delta_ci_high,
    label, band, and one column per factor."""
    answer: str
    state: str
    best_arm: str | None
    gate_met: bool | None
    next_steps: Sequence[str] = field(default_factory=tuple)
    curves: Sequence[CurveView] = field(default_factory=tuple)
    """Of a design whose paths go through points of finished models."""
    endpoints: Sequence[EndpointView] = field(default_factory=tuple)
    """Every comparison of the endpoints that the study states."""
