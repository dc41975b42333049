"""What a calibration found: rates with exact bounds, the worst cells, and whether the study passes.

**What passes.** A false-positive rate may be 5 %: its exact 95 % interval (Clopper and Pearson)
must not lie above 5 %, and must end at or below 6.5 %. So a rule that errs in exactly 5 % of
studies passes, as it should, and one that errs in 7 % does not. Coverage must be at least 93 %, as
estimated; there is no upper limit, since exact discrete intervals cover more than is asked.

**Worst cells.** The worst of many cells looks worse than it is, and may not be the one that is. So
the three worst are drawn again, with fresh numbers and twice as many studies, and the worst rate of
those counts. Each kind of rate has its three: false positives, coverage, coverage of families.

**The whole answer** is wrong if any part of it is. Rates of the parts that answer are added, which
is an upper limit whatever they have in common; their bounds are joined as Zou and Donner do (2008,
Statistics in Medicine 27): the distances of the bounds from the rates are added in squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.calibration.cell import Counts, Part

MOST_WRONG = 0.05
MOST_WRONG_BOUND = 0.065
LEAST_COVERED = 0.93
WORST = 3
"""So many of the worst cells, by each kind of rate that is in doubt, are drawn again."""
RATES = ("wrong", "covered", "families_covered")
BOUND_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share with its exact 95 % interval."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class CellResult:
    """What came of one cell; `again`: drawn once more, since it was a worst one."""

    part: Part
    name: str
    conditions: Mapping[str, str | float]
    effect: float | None
    counts: Counts
    again: bool = False

    @property
    def wrong(self) -> Rate | None:
        """Studies of which anything said is false; None where power is told."""
        if self.effect is not None or not self.counts.studies:
            return None
        return exact(self.counts.wrong, self.counts.studies)

    @property
    def covered(self) -> Rate | None:
        """Of single intervals those that hold the truth. Those of one study hang together, so the
        bounds count studies, not intervals."""
        return self._of_studies(self.counts.covered, self.counts.intervals)

    @property
    def families_covered(self) -> Rate | None:
        """Of sets of simultaneous intervals those that all hold it."""
        return self._of_studies(self.counts.families_covered, self.counts.families)

    @property
    def power(self) -> Rate | None:
        """Of true effects those that were called what they are."""
        if self.effect is None:
            return None
        return self._of_studies(self.counts.found, self.counts.effects)

    def _of_studies(self, count: int, total: int) -> Rate | None:
        if not total:
            return None
        share, studies = count / total, min(total, self.counts.studies)
        bounds = exact(round(share * studies), studies)
        return Rate(share, bounds.low, bounds.high)


@dataclass(frozen=True)
class PartResult:
    """The worst of one part's cells; None where no cell tells it.

    Attributes:
        answers: whether the study's answer holds what this part says; the error of one that it
            does not hold counts by itself.
        cells: how many without effects.
    """

    part: Part
    answers: bool
    cells: int
    wrong: CellResult | None
    covered: CellResult | None
    families: CellResult | None

    @property
    def passes(self) -> bool:
        """Whether the part does by itself."""
        wrong = self.wrong.wrong if self.wrong else None
        return (wrong is None or may_be(wrong)) and self.covers

    @property
    def covers(self) -> bool:
        """Whether every coverage is high enough."""
        single = self.covered.covered if self.covered else None
        joint = self.families.families_covered if self.families else None
        return all(one is None or one.rate >= LEAST_COVERED for one in (single, joint))


@dataclass(frozen=True)
class Calibration:
    """The calibration of a study.

    Attributes:
        rule: hash of the decision rule; None if the study states none.
        layout: hash of arms, seeds, units and clusters that were simulated.
        studies: simulated in each cell.
        notes: what was assumed, and what was read from runs.
    """

    study: str
    instance: str
    rule: str | None
    layout: str
    studies: int
    seed: int
    cells: tuple[CellResult, ...]
    parts: tuple[PartResult, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def wrong(self) -> Rate | None:
        """How often anything in the study's answer is false, at most."""
        rates = [p.wrong.wrong for p in self.parts if p.answers and p.wrong]
        return added(one for one in rates if one is not None)

    @property
    def passes(self) -> bool:
        """Whether the study's answer, and each part, errs and covers as it may."""
        whole = self.wrong
        return (whole is None or may_be(whole)) and all(part.passes for part in self.parts)

    def power(self) -> tuple[CellResult, ...]:
        """The cells that tell power."""
        return tuple(one for one in self.cells if one.power is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        from importlib.metadata import version

        return {
            "version": version("orrery"),
            "study": self.study,
            "instance": self.instance,
            "rule": self.rule,
            "layout": self.layout,
            "studies": self.studies,
            "seed": self.seed,
            "passes": self.passes,
            "wrong": _json(self.wrong),
            "limits": {
                "wrong": MOST_WRONG,
                "wrong_bound": MOST_WRONG_BOUND,
                "covered": LEAST_COVERED,
            },
            "parts": [
                {
                    "part": one.part,
                    "answers": one.answers,
                    "passes": one.passes,
                    "cells": one.cells,
                    "wrong": _worst(one.wrong, "wrong"),
                    "covered": _worst(one.covered, "covered"),
                    "families_covered": _worst(one.families, "families_covered"),
                }
                for one in self.parts
            ],
            "power": [
                {
                    "part": one.part,
                    "conditions": dict(one.conditions),
                    "effect": one.effect,
                    **(_json(one.power) or {}),
                }
                for one in self.power()
            ],
            "cells": [
                {
                    "part": one.part,
                    "cell": one.name,
                    "conditions": dict(one.conditions),
                    "effect": one.effect,
                    "again": one.again,
                    **asdict(one.counts),
                }
                for one in self.cells
            ],
            "notes": list(self.notes),
        }


def exact(events: int, trials: int) -> Rate:
    """A rate with Clopper and Pearson's interval, of at least one trial."""
    from orchestrator.statistics import exact_proportion

    found = exact_proportion(events, trials, BOUND_CONFIDENCE)
    return Rate(events / trials, found.low or 0.0, 1.0 if found.high is None else found.high)


def added(rates: Iterable[Rate]) -> Rate | None:
    """The sum of rates that were estimated apart; None of none."""
    known = list(rates)
    if not known:
        return None
    rate = sum(one.rate for one in known)
    below = sum((one.rate - one.low) ** 2 for one in known) ** 0.5
    above = sum((one.high - one.rate) ** 2 for one in known) ** 0.5
    return Rate(rate, max(0.0, rate - below), min(1.0, rate + above))


def may_be(wrong: Rate) -> bool:
    """Whether a false-positive rate passes."""
    return wrong.low <= MOST_WRONG and wrong.high <= MOST_WRONG_BOUND


def worst_of(
    part: Part,
    first: Sequence[CellResult],
    again: Sequence[CellResult],
    drawn_again: Mapping[str, frozenset[str]],
) -> tuple[CellResult | None, CellResult | None, CellResult | None]:
    """The cell with the most false positives, and those with the least coverage of single
    intervals and of families: of the fresh draw where a rate was in doubt, else of the first."""

    def worst(rate: str) -> CellResult | None:
        names = drawn_again[rate]
        cells = [one for one in again if one.name in names] if names else first
        return next(iter(_ranked(part, cells, rate)), None)

    return worst("wrong"), worst("covered"), worst("families_covered")


def to_draw_again(
    part: Part, cells: Sequence[CellResult], answering: int = 1
) -> dict[str, frozenset[str]]:
    """By rate the names of its worst cells in a part, where the first draw leaves any doubt that
    the worst passes: its bound lies beyond the limit, of which each of the parts that are
    `answering` has its share. The worst of many looks worse than it is, so where even that is
    within the limit there is nothing to draw again."""
    chosen = {}
    for rate in RATES:
        ranked = _ranked(part, cells, rate)
        doubt = bool(ranked) and _in_doubt(rate, getattr(ranked[0], rate), answering)
        chosen[rate] = frozenset(one.name for one in ranked[:WORST] if doubt)
    return chosen


def _in_doubt(name: str, rate: Rate, answering: int) -> bool:
    if name == "wrong":
        return rate.high > MOST_WRONG / answering
    return rate.low < LEAST_COVERED


def _ranked(part: Part, cells: Iterable[CellResult], name: str) -> list[CellResult]:
    """The cells that tell a rate, from the worst on."""
    mine = [one for one in cells if one.part == part and one.effect is None]
    sign = -1.0 if name == "wrong" else 1.0
    known = [(sign * rate.rate, i) for i, one in enumerate(mine) if (rate := getattr(one, name))]
    return [mine[i] for _, i in sorted(known)]


def _json(rate: Rate | None) -> dict[str, float] | None:
    return None if rate is None else asdict(rate)


def _worst(one: CellResult | None, name: str) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"cell": one.name, "studies": one.counts.studies, **asdict(getattr(one, name))}
