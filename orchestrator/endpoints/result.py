"""What is said of endpoints: plain, frozen data. None is "not measured" or "not told", never 0."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

HIGHER = "effect, higher"
LOWER = "effect, lower"
NO_EFFECT = "no effect"
INCONCLUSIVE = "inconclusive"
IDENTICAL = "identical"
CANDIDATE = "candidate"
"""Before a label: of too few seeds."""
INCOMPLETE = "incomplete"
FAILED = "failed"
DIVERGED = "diverged"
NOT_FINITE = "not finite"
NOT_MEASURED = "not measured"
PENDING = "no verdict yet"


@dataclass(frozen=True)
class SeedDifference:
    """One seed's mean of the paired differences. None: it was measured, and is not finite."""

    seed: int
    value: float | None


@dataclass(frozen=True)
class Comparison:
    """One arm beside the one it is held against, in one endpoint.

    Attributes:
        endpoint: its name in the study file.
        value: the mean over seeds and units of the paired differences, arm minus `against`; `low`,
            `high`: its interval, simultaneous over its `family`: all comparisons of primary
            endpoints, or those of others with arms that are controls or that are not.
        mean, against_mean: of either, over what was paired.
        label: what it comes to; `why`: what the numbers do not say.
        seeds: that were paired, of `planned`; `left_seeds`: that only one of the two has.
        units, clusters: that every paired run measured; `left_units`: others.
        fixed: neither depends on the seed, so that the interval speaks of other units alone.
        over_seeds: the units are no sample, so that it speaks of other seeds alone.
        failed, not_finite, diverged: runs of both arms that failed, that measured something that is
            no finite number, and that diverged but were scored.
        flagged: runs of both arms that were flagged otherwise; `why` holds their notes.
    """

    endpoint: str
    arm: str
    against: str
    column: str
    split: str
    unit: str
    about: str
    margin: float
    primary: bool
    control: bool
    label: str
    sentence: str
    confidence: float
    family: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    against_mean: float | None = None
    seed_sd: float | None = None
    seeds: int = 0
    planned: int = 0
    left_seeds: int = 0
    units: int = 0
    clusters: int = 0
    left_units: int = 0
    fixed: bool = False
    over_seeds: bool = False
    failed: int = 0
    not_finite: int = 0
    diverged: int = 0
    flagged: int = 0
    why: str = ""
    differences: tuple[SeedDifference, ...] = ()

    @property
    def name(self) -> str:
        """`endpoint/arm`, which no other comparison of the study has."""
        return f"{self.endpoint}/{self.arm}"


@dataclass(frozen=True)
class StudyEndpoints:
    """All comparisons of a study, in its order, and what came of the primary ones in words."""

    comparisons: tuple[Comparison, ...]
    answer: str
    state: Literal["answered", "no verdict yet"]
    confidence: float

    def find(self, endpoint: str, arm: str) -> Comparison | None:
        """One comparison, or None."""
        wanted = (endpoint, arm)
        return next((one for one in self.comparisons if (one.endpoint, one.arm) == wanted), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        from orchestrator.verdict.result import plain

        data: dict[str, Any] = plain(dataclasses.asdict(self))
        return data
