"""What is said of claims: plain, frozen data. None is "not measured" or "not told", never 0."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

HOLDS = "holds"
CONTRADICTED = "contradicted"
INCONCLUSIVE = "inconclusive"
INCOMPLETE = "incomplete"
CANDIDATE = "candidate"
"""Before a label, with a colon: of too few runs."""
NOT_FINITE = "not finite"
"""A run measured something that is no finite number: what it would have said is not known."""
NOT_MEASURED = "not measured"
PENDING = "no verdict yet"

CANDIDATES = (f"{CANDIDATE}: {HOLDS}", f"{CANDIDATE}: {CONTRADICTED}")

Statistic = Literal["share", "runs", "median", "mean"]
Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class RunFigure:
    """What one run contributes. `value`: its share, median or mean, or 1 where any unit is within;
    None where it measured nothing, failed, or has not ended; NaN where a unit is not finite."""

    seed: int
    value: float | None
    units: int
    """Units that were measured, those that are not finite among them."""
    not_finite: int = 0


@dataclass(frozen=True)
class ClaimResult:
    """A claim beside the figure that it is about.

    Attributes:
        value: the figure; `low`, `high`: its interval, simultaneous over the claims of the study.
        runs: that measured anything, of `planned`; `failed`: that failed; `silent`: that ended
            without one measured unit; `strange`: of `runs`, those with a unit that is not finite,
            which leave no figure; `units`: measured units over all of them; `not_finite`: of these,
            those that are not.
        events: of `runs`, those with any unit within; None for other statistics.
        label: whether the claim holds, by the interval before its ends were brought within what the
            figure can be; "candidate: holds" or "candidate: contradicted" of few runs. `why`: what
            the numbers do not say.
        confidence, family: of all claims together, and how many they are.
    """

    name: str
    arm: str
    statistic: Statistic
    column: str
    split: str
    within: Ends | None
    expected: Ends
    source: str
    about: str
    label: str
    sentence: str
    confidence: float
    family: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    planned: int = 0
    failed: int = 0
    silent: int = 0
    strange: int = 0
    units: int = 0
    not_finite: int = 0
    events: int | None = None
    why: str = ""
    control: bool = False
    """Whether its arm is a control: told apart from the others in the answer."""
    figures: tuple[RunFigure, ...] = ()


@dataclass(frozen=True)
class StudyClaims:
    """All claims of a study, in its order, and what came of them in a sentence."""

    claims: tuple[ClaimResult, ...]
    answer: str
    state: Literal["answered", "no verdict yet"]
    confidence: float

    def find(self, name: str) -> ClaimResult | None:
        """One claim, or None."""
        return next((one for one in self.claims if one.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        from orchestrator.verdict.result import plain

        data: dict[str, Any] = plain(dataclasses.asdict(self))
        return data
