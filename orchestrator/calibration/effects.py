"""Effects of a factorial study whose figures are known.

Effects stand in tables, and no answer is made of them: what is read together is a family (the
Shapley values, the pairs), each of which errs by itself. So a family is a verdict of its own here,
and a study is wrong if any of the family's simultaneous intervals misses its figure: a label then
says of some difference what is not so. Families of as many figures that hang together alike are
drawn once, and so are tables that are asked the same of as many seeds or models and examples.

*Normal*: the score of a combination under a seed has a part of its own, which every example shares
(`seed SD`, in standard errors of the figures over examples), and one for each cluster and example.
*Few answers*: right or wrong answers, of which a factor turns few, all in one direction or in both;
half of them are the same in every model. *Sampled*: the figures of a drawn game, where the study
measures a sample of the combinations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.calibration.effect_family import Family, distinct, families, tables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import Layout
    from orchestrator.planning import Plan
    from orchestrator.study import Study

    Floats = NDArray[np.float64]

SEED_SD = (0.0, 1.0, 3.0)
"""Standard errors of a figure over examples."""
NOISIER = 4.0
TURNED = (0.01, 0.05, 0.3)
"""Part of the answers that a factor turns."""
WHOLE = 100.0
"""Points that a turned answer makes."""
EXAMPLE_SD = 20.0
"""Points, of a combination's scores."""
PART_OF_CLUSTER = 0.5
"""What the examples of a cluster share of that variance."""
POWER_SEED_SD = 1.0
POWER = (1.0, 2.0, 4.0, 8.0)
"""Points."""
BLOCK = 2_000_000
"""Scores that are drawn at once."""


def cells(study: Study, plan: Plan, layout: Layout) -> list[Cell]:
    """The grid of each family of figures; none for a study that is no factorial."""
    found: list[Cell] = []
    for table in {one.size: one for one in reversed([*tables(study, plan, layout)])}.values():
        of_table = families(table)
        for family in distinct(of_table):
            found += _normals(family)
        for family in {len(one.weights): one for one in reversed(of_table)}.values():
            found += _turned(family)
        shapley = of_table[0]
        if table.planned.sampling is not None:
            found.append(_sampled(shapley))
        found += _power(shapley)
    return found


def _normals(family: Family) -> Iterator[Cell]:
    spreads = SEED_SD if family.single else (SEED_SD[0], SEED_SD[-1])
    for sd in (0.0,) if family.table.one_model else spreads:
        yield _normal(family, sd, noisier=False)
    yield _normal(family, 0.0 if family.table.one_model else SEED_SD[-1], noisier=True)


def _turned(family: Family) -> Iterator[Cell]:
    for rate in TURNED:
        for both in (False, True):
            way = "both ways" if both else "one way"
            yield TurnedCell(
                part="effects",
                name=f"{family.table.name}, {family.name}: {rate:g} of answers turn {way}",
                conditions=_conditions(family, f"{rate:g} of answers turn {way}"),
                family=family,
                rate=rate,
                both=both,
            )


def _normal(family: Family, seed_sd: float, *, noisier: bool) -> Cell:
    scatter = "one combination 4 x noisier" if noisier else "alike"
    return NormalCell(
        part="effects",
        name=f"{family.table.name}, {family.name}: normal, seed SD {seed_sd:g}, {scatter}",
        conditions={**_conditions(family, f"normal, {scatter}"), "seed SD": seed_sd},
        family=family,
        seed_sd=seed_sd,
        noisier=noisier,
    )


def _sampled(family: Family) -> Cell:
    return SampledCell(
        part="effects",
        name=f"{family.table.name}, {family.name}: sampled combinations",
        conditions=_conditions(family, "sampled combinations of a game"),
        family=family,
    )


def _power(family: Family) -> Iterator[Cell]:
    seed_sd = 0.0 if family.table.one_model else POWER_SEED_SD
    for effect in POWER:
        yield NormalCell(
            part="effects",
            name=f"power: {family.table.name}, {family.name}, {effect:g} points",
            conditions={**_conditions(family, "normal, alike"), "seed SD": seed_sd},
            effect=effect,
            family=family,
            seed_sd=seed_sd,
        )


def _conditions(family: Family, scores: str) -> dict[str, str | float]:
    return {"table": family.table.name, "figures": family.name, "scores": scores}


@dataclass(frozen=True, kw_only=True)
class NormalCell(Cell):
    """Normal scores; every figure is 0, or `effect`."""

    family: Family
    seed_sd: float
    noisier: bool = False

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        counts = Counts()
        for size in _blocks(self.family, studies):
            truth = 0.0 if self.effect is None else self.effect
            found = _counts(self.family, truth + self.figures(size, rng), truth)
            powered = self.effect is not None
            counts += found if powered else _without_power(found)
        return counts

    def figures(self, studies: int, rng: np.random.Generator) -> Floats:
        """[studies, figures, replicates, examples], drawn as the sums over combinations that they
        are: as a normal law with the covariance of such sums."""
        import numpy as np

        table, weights = self.family.table, self.family.weights.copy()
        if self.noisier:
            weights[:, -1] *= NOISIER
        values, vectors = np.linalg.eigh(weights @ weights.T)
        root = vectors * np.sqrt(np.clip(values, 0.0, None))
        units, sizes = table.clusters.size, np.bincount(table.clusters)
        shares = sizes / units
        error = EXAMPLE_SD * np.sqrt(
            PART_OF_CLUSTER * float((shares**2).sum()) + (1 - PART_OF_CLUSTER) / units
        )
        size, replicates = len(root), table.replicates
        by_cluster = EXAMPLE_SD * PART_OF_CLUSTER**0.5
        by_example = EXAMPLE_SD * (1 - PART_OF_CLUSTER) ** 0.5
        drawn = by_example * rng.standard_normal((studies, size, replicates, units))
        drawn += (
            by_cluster * rng.standard_normal((studies, size, 1, sizes.size))[..., table.clusters]
        )
        drawn += self.seed_sd * error * rng.standard_normal((studies, size, replicates, 1))
        return np.asarray(root @ drawn.reshape(studies, size, -1)).reshape(drawn.shape)


@dataclass(frozen=True, kw_only=True)
class TurnedCell(Cell):
    """Right or wrong answers of which few are turned; `both`: as many either way."""

    family: Family
    rate: float
    both: bool

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        counts = Counts()
        truth = 0.0 if self.both else WHOLE * self.rate
        for size in _blocks(self.family, studies):
            counts += _without_power(_counts(self.family, self.figures(size, rng), truth))
        return counts

    def figures(self, studies: int, rng: np.random.Generator) -> Floats:
        """[studies, figures, replicates, examples]; the examples of a cluster turn together."""
        import numpy as np

        table = self.family.table
        groups = int(table.clusters.max()) + 1
        drawn = rng.random((studies, len(self.family.weights), table.replicates, groups))
        same = rng.random(drawn.shape) < 0.5
        drawn = np.where(same, drawn[:, :, :1], drawn)
        turned = (drawn < self.rate).astype(np.float64)
        if self.both:
            turned -= drawn > 1 - self.rate
        return WHOLE * turned[..., table.clusters]


@dataclass(frozen=True, kw_only=True)
class SampledCell(Cell):
    """Shapley values of games with pairs and triples, of which some combinations are measured."""

    family: Family

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        import numpy as np

        table, counts = self.family.table, Counts()
        planned = table.planned
        assert planned.sampling is not None
        states = np.array(planned.coalitions, dtype=np.float64)
        rows = [i for i, one in enumerate(planned.figures) if one.kind == "shapley"]
        for _ in range(studies):
            game, truth = _game(states, rng)
            noise = rng.standard_normal((table.replicates, len(game), table.clusters.size))
            scores = game[:, None] + noise
            errors, df = planned.sampling(scores.mean(axis=(0, 2)))
            figures = np.einsum("fc,rce->fre", self.family.weights, scores)[None]
            found = _counts(self.family, figures, truth[None, :], errors[rows], df)
            counts += _without_power(found)
        return counts


def _game(states: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The values [combinations] of a game of single factors, pairs and triples, and its Shapley
    values: a pair's is halved between its two, a triple's parted in three."""
    import numpy as np

    n = states.shape[1]
    values, shapley = np.zeros(len(states)), np.zeros(n)
    for order, mean, sd, count in ((1, 1.0, 0.5, n), (2, 0.0, 0.2, n * n), (3, 0.0, 0.1, n * n)):
        for i in range(count if order <= n else 0):
            members = [i] if order == 1 else rng.choice(n, order, replace=False)
            worth = rng.normal(mean, sd) / max(1.0, (count / n) ** 0.5)
            values += worth * states[:, members].prod(axis=1)
            shapley[members] += worth / order
    return values, shapley


def _blocks(family: Family, studies: int) -> Iterator[int]:
    table = family.table
    scores = len(family.weights) * table.replicates * table.clusters.size
    block = max(1, BLOCK // scores)
    for start in range(0, studies, block):
        yield min(block, studies - start)


def _counts(
    family: Family,
    figures: Floats,
    truth: Floats | float,
    sampling_se: Floats | None = None,
    sampling_df: float = float("inf"),
) -> Counts:
    """Of figures [studies, figures, replicates, examples] whose true values are known."""
    import numpy as np

    studies, size = figures.shape[:2]
    found = family.intervals(figures, sampling_se, sampling_df)
    shape = studies, size
    low, high = found.low.reshape(shape), found.high.reshape(shape)
    still = found.still.reshape(shape)
    given = (
        np.logical_not(still) & np.isfinite(low) & np.isfinite(high)
    )  # what never varied has no interval
    missed = given & ((low > truth) | (high < truth))
    return Counts(
        studies=studies,
        wrong=int(missed.any(axis=1).sum()),
        intervals=int(given.sum()),
        covered=int((given & ~missed).sum()),
        families=int(given.any(axis=1).sum()),
        families_covered=int((given.any(axis=1) & ~missed.any(axis=1)).sum()),
        effects=studies * size,
        found=int((given & (low > 0)).sum()),
    )


def _without_power(counts: Counts) -> Counts:
    from dataclasses import replace

    return replace(counts, effects=0, found=0)
