"""The verdict as plain, frozen data, and its JSON form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

VerdictState = Literal["no verdict yet", "gate not met", "screen", "verdict"]


@dataclass(frozen=True)
class GateResult:
    """Whether a comparison means anything.

    Attributes:
        met: None while it cannot be judged; `why` then says what is missing.
        value, ci_low, ci_high: the ratio or the control's mean; None if not estimable.
        floor: the floor's mean, in the units of the metric; None without a floor.
        target: a lower bound, or the range `(low, high)`.
        reference_value: the reference's mean, in the units of the metric.
    """

    met: bool | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    floor: float | None
    target: float | tuple[float, float]
    kind: str
    confidence: float
    control: str
    reference: str | None = None
    reference_value: float | None = None
    floor_arm: str | None = None
    why: str = ""


@dataclass(frozen=True)
class ArmVerdict:
    """One arm's numbers, in the units of the metric; None is "not measured", never 0.

    Attributes:
        n, planned: replicates with a result, and planned.
        mean, ci_low, ci_high: with the interval of this one arm at the rule's confidence.
        delta, delta_ci_low, delta_ci_high: arm minus comparator. Ends are simultaneous over the
            family for arms, and for one comparison for controls.
        label: what the interval supports.
        band: where the point estimate lies, as description; empty if there is none.
        why: one sentence behind the label, where the numbers do not say it.
        extra: `floor_corrected`, `collapsed`, `diverged`, `failed`, `selection_mean`, `seed_sd`,
            `df`, `questions`, `dropped_questions`, `equivalent`.
    """

    arm: str
    role: str
    n: int
    planned: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    delta: float | None
    delta_ci_low: float | None
    delta_ci_high: float | None
    label: str
    band: str = ""
    why: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    factors: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonVerdict:
    """A further stated comparison, in the units of the metric; None is "not measured".

    Attributes:
        kind, margin: as the rule states them.
        delta, ci_low, ci_high: arm minus `against`; ends simultaneous over the family.
        label: what the interval supports; `why` where the numbers do not say it.
        sentence: the same for a reader.
    """

    arm: str
    against: str
    kind: str
    margin: float | None
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    label: str
    why: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Best:
    """The configuration chosen on the selection split, with its numbers on the reported one."""

    arm: str
    selection_split: str
    selection_mean: float
    report_split: str
    mean: float | None
    delta: float | None
    label: str


@dataclass(frozen=True)
class Verdict:
    """The decision rule applied to the evidence; see `judge`."""

    study: str
    question: str
    metric: str
    unit: str
    direction: str
    comparator: str
    confidence: float
    simultaneous: str
    family: int
    bands: tuple[tuple[float, str], ...]
    state: VerdictState
    outcome: str
    gate: GateResult | None
    arms: tuple[ArmVerdict, ...]
    controls: tuple[ArmVerdict, ...]
    best: Best | None
    answer: str
    mixed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    comparisons: tuple[ComparisonVerdict, ...] = ()

    def find(self, arm: str) -> ArmVerdict | None:
        """The numbers of an arm or control by name."""
        return next((one for one in (*self.arms, *self.controls) if one.arm == arm), None)

    def _repr_html_(self) -> str:
        from orchestrator.notebook import verdict_html

        return verdict_html(self)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `report --json`; a number that is not finite becomes None."""
        gate = None if self.gate is None else dataclasses.asdict(self.gate)
        data = {
            "study": self.study,
            "question": self.question,
            "metric": self.metric,
            "gate": gate,
            "arms": [_arm_json(one) for one in self.arms],
            "controls": [_arm_json(one) for one in self.controls],
            "answer": self.answer,
            "state": self.state,
            "outcome": self.outcome,
            "comparator": self.comparator,
            "unit": self.unit,
            "direction": self.direction,
            "confidence": self.confidence,
            "simultaneous": self.simultaneous,
            "family": self.family,
            "bands": [{"at_least": edge, "name": name} for edge, name in self.bands],
            "best": None if self.best is None else dataclasses.asdict(self.best),
            "mixed": list(self.mixed),
            "notes": list(self.notes),
            "next_steps": list(self.next_steps),
            "comparisons": [dataclasses.asdict(one) for one in self.comparisons],
        }
        return {key: plain(value) for key, value in data.items()}


def plain(value: Any) -> Any:
    """Data that JSON can hold: NaN and infinities become None, tuples lists, the rest text."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)


def _arm_json(one: ArmVerdict) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "n": one.n,
        "mean": one.mean,
        "ci_low": one.ci_low,
        "ci_high": one.ci_high,
        "delta": one.delta,
        "delta_ci_low": one.delta_ci_low,
        "delta_ci_high": one.delta_ci_high,
        "label": one.label,
        "role": one.role,
        "planned": one.planned,
        "band": one.band,
        "why": one.why,
        "extra": one.extra,
        "factors": one.factors,
    }
