"""Claims on studies whose figures are known.

What a study's answer states of claims is the label of each, those on controls among them: they are
one family, and a study is wrong if any claim *holds* whose figure lies outside of where it is said
to lie, or is *contradicted* though it lies inside. With other parts that answer, claims have a
share of the error (`orchestrator.error_share`).

The hardest place is an end of the range: *outside* it by next to nothing, all claims at once, and
*at the edge*, which is inside. Ends that a figure cannot lie beyond are no edges. Runs scatter by
`RunLaw`, or are resampled from finished ones, whose figure is then the truth (`resampled`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.calibration.run_laws import RunLaw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import Layout
    from orchestrator.claims.result import Ends, Statistic
    from orchestrator.claims.rule import Claim
    from orchestrator.limits import Limits
    from orchestrator.planning import Plan
    from orchestrator.study import Study

    Floats = NDArray[np.float64]

LAWS = (
    RunLaw("normal", alike=0.1),
    RunLaw("gamma", alike=0.3),
    RunLaw("gamma", down=True, shares="dropping"),
    RunLaw("lognormal", alike=0.5),
    RunLaw("lognormal", down=True, shares="dropping"),
)
NARROW = 20
"""By what a range is divided for the scatter of runs, so that one end alone can be missed."""
BEYOND = (0.05, 0.1, 0.2, 0.4)
"""How far outside figures lie that tell power: parts of all, or of shares."""
SCALES = (0.25, 0.5, 1.0, 2.0)
"""The same of medians and means, in standard deviations over runs."""
FEWEST_REAL = 5
"""Finished runs from which some are drawn."""
SMOOTHING = 1.06
"""Silverman's width for a normal law, in SD, of one run."""
ROUNDING = 1e-12


@dataclass(frozen=True)
class Stated:
    """One claim as it is drawn.

    Attributes:
        truth: the figure; `outside`: it lies beyond an end of the range by next to nothing, or far.
        scale: SD over runs, of medians and means.
        units: of a run; `runs`: of the arm.
        real: figures of finished runs, of which some are drawn; empty: a law's are.
    """

    name: str
    statistic: Statistic
    expected: Ends
    runs: int
    units: int
    truth: float
    outside: bool
    scale: float
    real: tuple[float, ...] = ()


def cells(study: Study, plan: Plan, layout: Layout) -> list[Cell]:
    """The grid of the study's claims; none for a study without."""
    claims = study.file.claims
    if not claims:
        return []
    from orchestrator.claims.judging import CONFIDENCE
    from orchestrator.error_share import shared_confidence
    from orchestrator.limits import column_limits

    each = 1 - (1 - shared_confidence(study.file, CONFIDENCE)) / len(claims)
    stated = []
    for name, claim in claims.items():
        limits = column_limits(study.workload, claim.column)
        stated.append(list(_at_edges(name, claim, layout, limits)))
    found = list(_grid(stated, each))
    real = [one for name, claim in claims.items() if (one := _real(name, claim, layout))]
    if real:
        found.append(_cell("real runs", {"runs": "resampled"}, real, each, RunLaw()))
    found += _power([edges[0] for edges in stated if edges], each)
    return found


def _grid(stated: Sequence[Sequence[Stated]], each: float) -> Iterator[Cell]:
    for place in ("lower", "upper"):
        at = [edges[0 if place == "lower" else -1] for edges in stated if edges]
        if not at or (place == "upper" and all(len(edges) < 2 for edges in stated)):
            continue
        for law in LAWS:
            for outside in (True, False):
                where = f"{'just outside' if outside else 'at'} the {place} edge"
                tail = " down" if law.down else ""
                yield _cell(
                    f"{where}, {law.values}{tail}",
                    {"truth": where, **law.described},
                    [replace(one, outside=outside) for one in at],
                    each,
                    law,
                )


def _cell(
    name: str,
    conditions: dict[str, str | float],
    stated: Sequence[Stated],
    each: float,
    law: RunLaw,
    effect: float | None = None,
) -> Cell:
    return ClaimCell(
        part="claims",
        name=name,
        conditions=conditions,
        effect=effect,
        stated=tuple(stated),
        each=each,
        law=law,
    )


def _at_edges(name: str, claim: Claim, layout: Layout, limits: Limits) -> Iterator[Stated]:
    """The claim with its figure at each end of the range that it could lie beyond."""
    low, high = claim.expected
    counts = claim.statistic in ("share", "runs")
    least, most = (0.0, 1.0) if counts else limits
    width = high - low if low is not None and high is not None else None
    for end, limit in ((low, least), (high, most)):
        if end is None or end == limit:
            continue
        scale = width / NARROW if width else abs(end) / 2 or 1.0
        yield Stated(
            name=name,
            statistic=claim.statistic,
            expected=claim.expected,
            runs=len(layout.arm(claim.arm).seeds),
            units=layout.measured[claim.split, claim.column].count,
            truth=end,
            outside=False,
            scale=scale,
        )


def _real(name: str, claim: Claim, layout: Layout) -> Stated | None:
    """The claim with the figures of its finished runs, whose own figure is the truth."""
    import numpy as np

    from orchestrator.claims.gathering import run_figure

    measured = layout.measured[claim.split, claim.column]
    scores = measured.scores.get(claim.arm)
    if scores is None:
        return None
    rows = [[None if math.isnan(value) else float(value) for value in row] for row in scores.values]
    figures = [
        run_figure(seed, row, claim).value for seed, row in zip(scores.seeds, rows, strict=True)
    ]
    known = tuple(value for value in figures if value is not None and math.isfinite(value))
    if len(known) < FEWEST_REAL or len(set(known)) < 2:
        return None
    truth = float(np.median(known) if claim.statistic == "median" else np.mean(known))
    low, high = claim.expected
    return Stated(
        name=name,
        statistic=claim.statistic,
        expected=claim.expected,
        runs=len(layout.arm(claim.arm).seeds),
        units=measured.count,
        truth=truth,
        outside=(low is not None and truth < low) or (high is not None and truth > high),
        scale=0.0,
        real=known,
    )


def _power(edges: Sequence[Stated], each: float) -> Iterator[Cell]:
    """Of each claim by itself, whose figure lies ever further outside."""
    for one in edges:
        out = -1.0 if one.truth == one.expected[0] else 1.0
        counts = one.statistic in ("share", "runs")
        for far in BEYOND if counts else [times * one.scale for times in SCALES]:
            truth = one.truth + out * far
            if counts and not 0 <= truth <= 1:
                continue
            yield _cell(
                f"power: {one.name}, {far:g} outside",
                {"claim": one.name, "truth": truth, **({} if counts else {"SD": one.scale})},
                [replace(one, truth=truth, outside=True)],
                each,
                RunLaw(),
                effect=far,
            )


@dataclass(frozen=True, kw_only=True)
class ClaimCell(Cell):
    """Claims on drawn runs. `each`: the confidence of one interval."""

    stated: tuple[Stated, ...]
    each: float
    law: RunLaw

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        import numpy as np

        wrong, missed = np.zeros((2, studies), dtype=bool)
        given = covered = found = 0
        for one, runs in self.runs(studies, rng):
            low, high = ends(one.statistic, runs, self.each)
            has = np.isfinite(low) & np.isfinite(high)
            inside = (low - ROUNDING <= one.truth) & (one.truth <= high + ROUNDING)
            given += int(has.sum())
            covered += int((has & inside).sum())
            missed |= has & ~inside
            holds, contradicted = labels(low, high, one.expected)
            wrong |= holds if one.outside else contradicted
            found += int(contradicted.sum())
        powered = self.effect is not None
        return Counts(
            studies=studies,
            wrong=int(wrong.sum()),
            intervals=given,
            covered=covered,
            families=studies,
            families_covered=studies - int(missed.sum()),
            effects=studies * len(self.stated) if powered else 0,
            found=found if powered else 0,
        )

    def runs(self, studies: int, rng: np.random.Generator) -> Iterator[tuple[Stated, Floats]]:
        """Every claim with the figures [studies, runs] of its arm."""
        import numpy as np

        for one in self.stated:
            size = (studies, one.runs)
            if one.real:
                yield one, resampled(one.statistic, np.array(one.real), size, rng)
            else:
                yield (
                    one,
                    self.law.draw(one.statistic, one.truth, one.scale, one.units, size, rng),
                )


def resampled(
    statistic: Statistic, real: Floats, size: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Figures [studies, runs] of finished runs, with their mean and SD.

    What a mean is taken of lies between those of a few runs too, and draws of five figures are
    often equal, as real runs never are: so those are smoothed, with the SD kept (Silverman and
    Young 1987, Biometrika 74). Other figures are drawn as they are.
    """
    import numpy as np

    drawn = rng.choice(real, size)
    if statistic != "mean":
        return drawn
    width = SMOOTHING * len(real) ** -0.2
    noise = width * float(real.std()) * rng.standard_normal(size)
    centre = float(real.mean())
    return np.asarray(centre + (drawn - centre + noise) / math.sqrt(1 + width**2))


def ends(statistic: Statistic, runs: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Ends [studies] of the figure of runs [studies, runs], as `orchestrator.claims.estimating`
    has them; NaN where there are none."""
    import numpy as np

    from orchestrator.statistics import over_runs
    from orchestrator.statistics.proportions import exact_proportion

    studies, n = runs.shape
    if statistic == "share":
        return over_runs.share_ends(runs, runs.mean(axis=-1), confidence)
    if statistic == "runs":
        exact = [exact_proportion(events, n, confidence) for events in range(n + 1)]
        table = np.array([(one.low, one.high) for one in exact], dtype=np.float64)
        low, high = table[(runs > 0).sum(axis=-1)].T
        return low, high
    nothing = np.full(studies, np.nan)
    if statistic == "median":
        rank = over_runs.median_rank(n, confidence)
        ordered = np.sort(runs, axis=-1)
        return (ordered[:, rank - 1], ordered[:, n - rank]) if rank else (nothing, nothing)
    if n < 2:
        return nothing, nothing
    low, high = over_runs.mean_ends(runs, runs.mean(axis=-1), confidence)
    still = np.ptp(runs, axis=-1) == 0
    return np.where(still, np.nan, low), np.where(still, np.nan, high)


def labels(
    low: Floats, high: Floats, expected: Ends
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[studies] whether a claim holds, and whether it is contradicted; candidates count."""
    import numpy as np

    least, most = (
        end if end is not None else sign * np.inf
        for end, sign in zip(expected, (-1, 1), strict=True)
    )
    return (low >= least) & (high <= most), (high < least) | (low > most)
