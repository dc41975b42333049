"""What a study holds against its figures, stated before it runs: the `claims:` of a study file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from orchestrator.designs import Part

Range = tuple[float | None, float | None]
"""Lower and upper end, both included; None: no limit on that side."""


class Claim(Part):
    """A figure of one arm, and where it is said to lie.

    `share`: of the measured units of a run, those `within`; mean over runs. `runs`: of the runs,
    those with any unit `within`. `median`: over runs, of each run's median. `mean`: over runs, of
    each run's mean.
    """

    arm: str
    """The arm whose figure it is."""
    statistic: Literal["share", "runs", "median", "mean"]
    """Which figure: see above."""
    column: str
    """A column of the scores."""
    split: str = "steps"
    """The split of the scores that has the units."""
    within: Range | None = None
    """What `share` and `runs` count: units from here to there, `null` for no limit."""
    expected: Range
    """Where the figure is said to lie."""
    source: str = ""
    """Who says so, in a few words."""
    about: str = ""
    """What is claimed, in a sentence; shown in reports, part of no hash."""

    @model_validator(mode="after")
    def _can_be_decided(self) -> Claim:
        if (self.statistic in ("share", "runs")) != (self.within is not None):
            raise ValueError(
                f"statistic {self.statistic} "
                + (
                    "counts units: say within: [low, high], null for no limit"
                    if self.within is None
                    else "counts no units: leave `within` out"
                )
            )
        for name, ends in (("within", self.within), ("expected", self.expected)):
            low, high = ends or (None, None)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name} must be [low, high], got [{low:g}, {high:g}]")
        if self.statistic in ("share", "runs"):
            for end in self.expected:
                if end is not None and not 0 <= end <= 1:
                    raise ValueError(
                        f"expected has {end:g}, but a {self.statistic} figure is a part of all, "
                        "from 0 to 1"
                    )
        if self.expected == (None, None):
            raise ValueError("expected has no limit on either side: nothing is claimed")
        return self

    def canonical(self) -> dict[str, Any]:
        """As plain JSON data for hashing: `source` and `about` are presentation."""
        return self.model_dump(mode="json", exclude={"source", "about"})
