"""What a study asks of alarms, stated before it runs: the `alarms:` part of a study file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from orchestrator.curve_design import Name
from orchestrator.designs import Part

Direction = Literal["above", "below", "either"]


class Signal(Part):
    """A series that every trial scores at each of its steps."""

    column: str
    """A column of the scores; a step without a value raises no alarm, a NaN does."""
    direction: Direction = "either"
    """Which deviations from the healthy mean count."""
    about: str = ""
    """What the signal is, in a few words; part of no hash."""


class AlarmRule(Part):
    """Which of two signals alarms first, when both may alarm falsely equally often.

    A signal alarms at the first step where its deviation from the mean of healthy runs at the same
    step exceeds a threshold: the conformal quantile of the largest deviation per run over the runs
    of `calibration`. The runs of `unseen`, healthy under other seeds, check what rate that gives.
    """

    signals: dict[Name, Signal] = Field(min_length=1)
    """The series that may alarm, by name."""
    first: Name
    """The signal that is asked about."""
    than: Name
    """The signal that it is compared with."""
    calibration: str
    """The arm of healthy runs that thresholds are made from."""
    unseen: str
    """The arm of healthy runs that thresholds are checked on."""
    split: str = "steps"
    """The split of the scores whose units are steps, in order."""
    rate: float = Field(default=0.02, gt=0, lt=1)
    """False alarms per run that thresholds are set for."""
    allowed: float = Field(default=0.10, gt=0, lt=1)
    """The check passes if the one-sided upper bound of the rate on unseen runs is at most this."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of every interval, and of the check on unseen runs."""
    onset: str | None = None
    """The metric that says at which step the fault of a run sets in; None: at its first step."""
    synthetic: list[str] = Field(default=[])
    """Arms whose signal is drawn into the measurement: shown apart, since their lead is made."""

    @model_validator(mode="after")
    def _means_one_thing(self) -> AlarmRule:
        for role in ("first", "than"):
            if getattr(self, role) not in self.signals:
                raise ValueError(
                    f"{role}: '{getattr(self, role)}' is no signal; there are "
                    f"{', '.join(self.signals)}"
                )
        if self.first == self.than:
            raise ValueError(f"first and than are both '{self.first}': name two signals")
        if self.calibration == self.unseen:
            raise ValueError(
                f"calibration and unseen are both '{self.unseen}': thresholds must be checked on "
                "runs that did not make them; list the healthy arm twice, with other seeds"
            )
        return self

    def canonical(self) -> dict[str, Any]:
        """As plain JSON data for hashing: what is said `about` a signal is presentation."""
        return self.model_dump(mode="json", exclude={"signals": {"__all__": {"about"}}})
