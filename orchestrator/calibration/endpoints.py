"""Endpoints on studies with known differences.

What a study's answer states of endpoints is the label of every primary comparison, those with
controls among them: they are one family, and a study is wrong if any of them is. With other parts
that answer, they have a share of the error (`orchestrator.error_share`). Secondary comparisons are
in no answer and err by themselves: families of their own, with a few cells.

*Difference 0*: anything that excludes 0 is false, also where it is called no effect "and not
exactly 0". *At the margin*: "no effect" is false, and so is an effect the other way. *Unequal*: a
third of the comparisons each at 0, at the margin and at three margins.

Scores are drawn in units of the margin, which is the mean of what is never below 0: an arm's from
`Law`, or what a finished study's paired differences leave beside their mean, resampled by clusters,
with seeds that scatter as the cell says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.calibration.endpoint_family import (
    Column,
    Compared,
    Family,
    Side,
    families,
    is_effect,
    is_no_effect,
)
from orchestrator.calibration.laws import KINDS, Kind, Law
from orchestrator.calibration.paired_residuals import Residuals, residuals_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import Layout
    from orchestrator.planning import Plan
    from orchestrator.study import Study

    Floats = NDArray[np.float64]

SEED_SD = (0.0, 1.0, 2.0, 3.0)
"""Standard errors of the mean over texts."""
ALIKE = 0.5
"""What the texts of a cluster share of their variance."""
WILD = 1.0
"""Scatter over texts, as large as the mean; half of that where differences lie around 0."""
NOISIER = 4.0
UNEQUAL = (0.0, 1.0, 3.0)
"""Margins."""
POWER = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Margins."""
ASSUMED_SEED_SD = 0.5
"""Margins, of an arm: what power goes by before anything ran."""
ASSUMED_TEXT_SD = 2.0
BLOCK = 2_000_000
"""Scores of an arm that are drawn at once."""

SECONDARY: tuple[tuple[Kind, float], ...] = (
    ("normal", 0.0),
    ("normal", 3.0),
    ("lognormal", 3.0),
)
"""Law and seed SD of families that answer nothing."""

Truth = Literal["none", "margin", "unequal"]


def cells(study: Study, plan: Plan, layout: Layout) -> list[Cell]:
    """The grid of each family of the study's endpoints."""
    found: list[Cell] = []
    for family in families(study, layout):
        residuals = residuals_of(family, layout)
        if family.name == "primary":
            found += _grid(family)
            found += [_resampled(family, residuals, sd) for sd in SEED_SD if residuals]
            found += _power(family, residuals)
        else:
            found += [_drawn(family, "none", Law(kind, sd, alike=ALIKE)) for kind, sd in SECONDARY]
    return found


def _grid(family: Family) -> Iterator[Cell]:
    for kind in KINDS:
        for sd in SEED_SD:
            law = Law(kind, sd, alike=ALIKE)
            yield _drawn(family, "none", law)
            yield _drawn(family, "none", law, noisier=True)
            yield _drawn(family, "margin", replace(law, text_sd=WILD))
        yield _drawn(family, "unequal", Law(kind, 1.0, alike=ALIKE))


def _drawn(family: Family, truth: Truth, law: Law, *, noisier: bool = False) -> Cell:
    name = f"{family.name}: {truth}, {law.kind}, seed SD {law.seed_sd:g}"
    return EndpointCell(
        part="endpoints",
        name=f"{name}, one arm {NOISIER:g} x noisier" if noisier else name,
        conditions={
            "family": family.name,
            "truth": truth,
            "scores": law.kind,
            "seed SD": law.seed_sd,
            "one arm noisier": NOISIER if noisier else 1.0,
        },
        family=family,
        truth=truth,
        law=law,
        noisier=noisier,
    )


def _resampled(family: Family, residuals: Mapping[Compared, Residuals], sd: float) -> Cell:
    return EndpointCell(
        part="endpoints",
        name=f"{family.name}: none, real differences, seed SD {sd:g}",
        conditions={
            "family": family.name,
            "truth": "none",
            "scores": "resampled",
            "seed SD": sd,
            "one arm noisier": 1.0,
        },
        family=family,
        truth="none",
        law=Law("normal", sd),
        residuals=residuals,
    )


def _power(family: Family, residuals: Mapping[Compared, Residuals]) -> Iterator[Cell]:
    """Of each endpoint by itself, whose comparisons all have the difference."""
    for name in dict.fromkeys(one.endpoint for one in family.compared):
        own = tuple(one for one in family.compared if one.endpoint == name)
        margin = own[0].margin
        part = Family(family.name, own, family.clusters, family.confidence, family.size)
        known = [residuals[one] for one in own if one in residuals]
        seed_sd, text_sd = ASSUMED_SEED_SD, ASSUMED_TEXT_SD
        if known:
            seed_sd = sorted(one.seed_sd for one in known)[len(known) // 2] / margin
            text_sd = sorted(one.text_sd for one in known)[len(known) // 2] / margin
        for times in POWER:
            yield EndpointCell(
                part="endpoints",
                name=f"power: {name}, {times:g} margins",
                conditions={
                    "endpoint": name,
                    "noise": "measured" if known else "assumed",
                    "seed SD": seed_sd * margin,
                    "text SD": text_sd * margin,
                },
                effect=times * margin,
                family=part,
                truth="none",
                law=Law("normal", seed_sd, in_errors=False, text_sd=text_sd, alike=ALIKE),
                shift=times,
            )


@dataclass(frozen=True, kw_only=True)
class EndpointCell(Cell):
    """A family of comparisons on drawn scores.

    Attributes:
        noisier: the first comparison's arm scatters four times as much.
        residuals: what real differences leave beside their mean, of the comparisons that have
            any; with some, no scores are drawn.
        shift: the difference of every comparison of a cell that tells power, in margins.
    """

    family: Family
    truth: Truth
    law: Law
    noisier: bool = False
    residuals: Mapping[Compared, Residuals] | None = None
    shift: float = 0.0

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        counts = Counts()
        block = max(1, BLOCK // self._most_scores())
        for start in range(0, studies, block):
            counts += self._simulate(min(block, studies - start), rng)
        return counts

    def _simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        import numpy as np

        wrong, missed = np.zeros((2, studies), dtype=bool)
        given = covered = found = 0
        for one, differences, truth in self.differences(studies, rng):
            # what is drawn is in margins
            ends = self.family.interval(one, differences)
            has = np.isfinite(ends.low) & np.isfinite(ends.high)
            inside = (ends.low <= truth) & (truth <= ends.high)
            given += int(has.sum())
            covered += int((has & inside).sum())
            missed |= has & ~inside
            if self.effect is not None:
                found += int(is_effect(ends, 1.0, 1).sum())
                wrong |= is_effect(ends, 1.0, -1)
            elif truth == 0.0:
                wrong |= (ends.low > 0) | (ends.high < 0)
            else:
                wrong |= is_no_effect(ends, np.nextafter(truth, 0)) | is_effect(ends, 1.0, -1)
        return Counts(
            studies=studies,
            wrong=int(wrong.sum()),
            intervals=given,
            covered=covered,
            families=studies,
            families_covered=studies - int(missed.sum()),
            effects=0 if self.effect is None else studies * len(self.family.compared),
            found=found,
        )

    def differences(
        self, studies: int, rng: np.random.Generator
    ) -> Iterator[tuple[Compared, Floats, float]]:
        """Every comparison with its differences [studies, seeds, units] and their true mean, in
        margins."""
        if self.residuals is not None:
            for one, residuals in self.residuals.items():
                yield one, residuals.draw(studies, len(one.arm.rows), self.law.seed_sd, rng), 0.0
            return
        drawn: dict[tuple[Column, str], Floats] = {}
        for i, one in enumerate(self.family.compared):
            truth = self._truth(i)
            arm = self._scores(drawn, one, one.arm, studies, rng)
            if self.truth == "margin":  # all of the difference is the arm's own, as a divergence is
                yield one, arm, truth
                continue
            if self.noisier and i == 0:
                arm = 1.0 + NOISIER * (arm - 1.0)
            against = self._scores(drawn, one, one.against, studies, rng)
            yield one, arm - against + truth, truth

    def _truth(self, i: int) -> float:
        if self.effect is not None:
            return self.shift
        return {"none": 0.0, "margin": 1.0, "unequal": UNEQUAL[i % len(UNEQUAL)]}[self.truth]

    def _scores(
        self,
        drawn: dict[tuple[Column, str], Floats],
        one: Compared,
        side: Side,
        studies: int,
        rng: np.random.Generator,
    ) -> Floats:
        """[studies, seeds, units] of the rows that are paired; an arm's are drawn once."""
        key = side.column, side.arm
        if key not in drawn:
            clusters = self.family.clusters[side.column]
            drawn[key] = self.law.draw(
                studies, side.seeds, clusters, rng, fixed=side.fixed, places=one.over_seeds
            )
        scores = drawn[key]
        return scores if side.rows == tuple(range(scores.shape[1])) else scores[:, side.rows]

    def _most_scores(self) -> int:
        return max(
            max(one.arm.seeds, one.against.seeds) * self.family.clusters[one.arm.column].size
            for one in self.family.compared
        )
