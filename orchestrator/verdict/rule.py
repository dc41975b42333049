"""The decision rule of a study, stated before it runs: the `verdict:` part of a study file."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Confidence = Annotated[float, Field(gt=0.5, lt=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Band(_Part):
    """A size of effect with a name, such as `{at_least: 2, name: marginal}`."""

    at_least: float = Field(gt=0.0, allow_inf_nan=False)
    """In the units of the metric, in the good direction."""
    name: str = Field(min_length=1)
    """The label of a difference that is shown to be at least so large."""


class RatioGate(_Part):
    """The control must keep enough of the reference, both counted from the floor.

    Met when the lower end of the interval of (control - floor) / (reference - floor) is at least
    `target`. The floor is the arm of `floor` with the best mean. Fieller's interval.
    """

    kind: Literal["floor_corrected_ratio"]
    control: str
    """The arm that must work, such as the baseline."""
    reference: str
    """The upper bound, such as the text prompt."""
    floor: tuple[str, ...] = Field(min_length=1)
    """Arms that know nothing of the input: a constant answer, a mismatched prompt."""
    target: float = Field(default=0.25, allow_inf_nan=False)
    """The part of the reference that must be kept, as a fraction."""
    confidence: Confidence = 0.90
    """Of the interval, both ends together."""


class RangeGate(_Part):
    """The whole interval of the control's mean must lie in a range, both ends included."""

    kind: Literal["interval_inside"]
    control: str
    """The arm whose mean is looked at."""
    target: tuple[float, float]
    """Both ends of the range, in the units of the metric."""
    confidence: Confidence = 0.90
    """Of the interval, both ends together."""
    reference: str | None = None
    """Drawn as a line; takes no part in the gate."""
    floor: tuple[str, ...] = ()
    """For floor-corrected scores; takes no part in the gate."""

    @field_validator("target")
    @classmethod
    def _target_is_a_range(cls, target: tuple[float, float]) -> tuple[float, float]:
        if not target[0] < target[1]:
            raise ValueError(f"target must be [low, high] with low < high, got {list(target)}")
        return target


Gate = Annotated[RatioGate | RangeGate, Field(discriminator="kind")]


class Selection(_Part):
    """The best configuration is chosen on one split and reported on another."""

    split: str = "dev"
    """The split whose scores choose."""
    report: str = "test"
    """The split whose scores are reported."""

    @model_validator(mode="after")
    def _splits_differ(self) -> Selection:
        if self.split == self.report:
            raise ValueError(
                f"selection.split and selection.report are both {self.split!r}: a best "
                "configuration must be reported on data that did not choose it"
            )
        return self


class Comparison(_Part):
    """A further comparison, stated before the run: an arm against another than the comparator.

    `superiority`: better by at least `margin` (0 if none is given). `non_inferiority`: not worse by
    `margin` or more, which must be given. Both in the units of the metric.
    """

    arm: str
    """The arm that is asked about."""
    against: str
    """The arm that it is compared with."""
    kind: Literal["superiority", "non_inferiority"] = "superiority"
    """Which of the two is asked."""
    margin: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """By how much better, or how much worse without counting, in the units of the metric."""

    @model_validator(mode="after")
    def _can_be_decided(self) -> Comparison:
        if self.arm == self.against:
            raise ValueError(f"arm '{self.arm}' is compared with itself: name another in `against`")
        if self.kind == "non_inferiority" and self.margin is None:
            raise ValueError(
                f"non_inferiority of '{self.arm}' to '{self.against}' needs a `margin`: the loss, "
                "in units of the metric, that would still count as none"
            )
        return self


class Rule(_Part):
    """How a study's scores become labels. Changing it makes a new instance of the study."""

    metric: str
    """What is compared: a metric that the workload scores by unit, such as `f1`."""
    unit: str = "points"
    """The word after a difference, such as points; it decides nothing."""
    direction: Literal["higher", "lower"] = "higher"
    """Whether more of the metric is better, or less."""
    comparator: str
    """The arm that every other is compared with."""
    bands: tuple[Band, ...] = Field(min_length=1)
    """From small to large."""
    confidence: Confidence = 0.95
    """Of all differences together."""
    simultaneous: Literal["bonferroni", "dunnett"] = "bonferroni"
    """How the ends are widened so that they hold all at once. `dunnett` is narrower, and takes
    into account that every arm has the same comparator."""
    screen_seeds: int = Field(default=3, ge=2)
    """With fewer seeds than this nothing is judged; with fewer than `full_seeds` it is a screen."""
    full_seeds: int = Field(default=5, ge=2)
    """With fewer seeds than this a study is a screen: its strongest label is "candidate"."""
    gate: Gate | None = None
    """What must hold before arms are compared; none: nothing has to."""
    real_gate: Gate | None = None
    """In place of `gate` where the workload says that the setting is the one being replicated."""
    equivalence_margin: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """In the units of the metric: "no effect" is claimed only inside plus or minus this."""
    selection: Selection | None = None
    """How the best arm is chosen; none: no best is named."""
    comparisons: tuple[Comparison, ...] = ()
    """Beside those with the comparator; all intervals are simultaneous over both together."""

    @field_validator("comparisons")
    @classmethod
    def _comparisons_differ(cls, comparisons: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
        asked = [(one.arm, one.against, one.kind) for one in comparisons]
        for one in asked:
            if asked.count(one) > 1:
                raise ValueError(f"comparison of {one[0]} with {one[1]} ({one[2]}) is given twice")
        return comparisons

    @field_validator("bands")
    @classmethod
    def _bands_rise(cls, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        edges = [band.at_least for band in bands]
        if any(b <= a for a, b in itertools.pairwise(edges)):
            raise ValueError(f"bands must rise from small to large, got at_least {edges}")
        return bands

    @model_validator(mode="after")
    def _seeds_are_ordered(self) -> Rule:
        if self.screen_seeds > self.full_seeds:
            raise ValueError(
                f"screen_seeds ({self.screen_seeds}) is more than full_seeds ({self.full_seeds})"
            )
        return self

    def gate_for(self, real_setting: bool) -> RatioGate | RangeGate | None:
        """The gate that applies, `real_gate` where the setting is the replicated one."""
        if real_setting and self.real_gate is not None:
            return self.real_gate
        return self.gate

    def canonical(self) -> dict[str, Any]:
        """The rule as plain JSON data for hashing: names of bands and units are presentation.

        A rule without `comparisons` is what it was before there were any.
        """
        data: dict[str, Any] = self.model_dump(mode="json", exclude={"unit"})
        data["bands"] = [band.at_least for band in self.bands]
        if not self.comparisons:
            del data["comparisons"]
        return data
