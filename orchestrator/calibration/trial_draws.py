"""Draws of whole studies of trials: the moments of every arm, with a known true mean.

A drawer gives `Moments` with a batch of studies, which is all that the rule looks at, so that the
product's own estimators are what is simulated. Three kinds of scores:

* `NormalDraw`: normal scores in equal clusters. Drawn are the moments themselves, from the exact
  laws that they have then: means over seeds are normal, the residual variance is a scaled chi
  square of (n - 1)(K - 1) degrees of freedom, and the products of the arms' influences over K
  clusters are a Wishart matrix, here by its triangular root (Bartlett 1934, Proceedings of the
  Royal Society of Edinburgh 53). All are independent. It costs the same for any number of units.
* `BinaryDraw`: right or wrong, as exact match is.
* `RealDraw`: scores of finished trials. Clusters are drawn with replacement, the same in all arms;
  an arm keeps its own pattern over units, and each of its seeds gets the residual pattern of a
  replicate drawn from all. All patterns are centred, so that the true mean is known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from orchestrator.calibration.layout import ArmLayout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.layout import Measured
    from orchestrator.statistics import Moments

    Floats = NDArray[np.float64]

DIRECT_CLUSTERS = 64
"""Up to so many clusters influences are drawn cluster by cluster."""
MOST_NUMBERS = 4_000_000
"""Scores in memory at once, in a chunk of studies."""


@dataclass(frozen=True, eq=False)
class Draw(ABC):
    """How scores are drawn.

    Attributes:
        seed_sd: of an arm's seeds, in standard errors of one seed's mean over the units.
        noisy: the arm whose every deviation is `factor` times as large; None: all are alike.
    """

    seed_sd: float = 0.0
    noisy: str | None = None
    factor: float = 4.0

    @abstractmethod
    def moments(
        self,
        arms: Sequence[ArmLayout],
        truth: Mapping[str, float],
        studies: int,
        rng: np.random.Generator,
    ) -> dict[str, Moments]:
        """By arm the moments of so many studies in which its true mean is `truth`."""

    def _scale(self, arm: ArmLayout) -> float:
        return self.factor if arm.name == self.noisy else 1.0


@dataclass(frozen=True, eq=False)
class NormalDraw(Draw):
    """Normal scores, in `clusters` of equal size; without clusters there are seed means alone.

    Attributes:
        error: standard error of one seed's mean over the units, in units of the metric.
        persistent: the part of its square that all seeds of an arm share.
    """

    clusters: int | None = None
    error: float = 1.0
    persistent: float = 0.5

    def moments(
        self,
        arms: Sequence[ArmLayout],
        truth: Mapping[str, float],
        studies: int,
        rng: np.random.Generator,
    ) -> dict[str, Moments]:
        roots = self._roots(len(arms), studies, rng)
        return {
            arm.name: self._arm(
                arm, truth[arm.name], None if roots is None else roots[i], rng, studies
            )
            for i, arm in enumerate(arms)
        }

    def _roots(self, arms: int, studies: int, rng: np.random.Generator) -> list[Floats] | None:
        """By arm ``[studies, columns]``, whose products over arms are those of K - 1 free normal
        values; None without clusters."""
        import numpy as np

        if self.clusters is None:
            return None
        free = self.clusters - 1
        if self.clusters <= DIRECT_CLUSTERS or free < arms:
            return [rng.standard_normal((studies, max(1, free))) * (free > 0) for _ in range(arms)]
        found = []
        for i in range(arms):
            root = np.zeros((studies, arms))
            root[:, :i] = rng.standard_normal((studies, i))
            root[:, i] = np.sqrt(rng.chisquare(free - i, studies))
            found.append(root)
        return found

    def _arm(
        self,
        arm: ArmLayout,
        truth: float,
        root: Floats | None,
        rng: np.random.Generator,
        studies: int,
    ) -> Moments:
        import numpy as np

        from orchestrator.statistics import Moments

        scale, seeds = self._scale(arm) * self.error, len(arm.seeds)
        share = 1.0 if arm.deterministic else self.persistent
        lasting = scale * np.sqrt(share) * rng.standard_normal((studies, 1))
        residual = scale**2 * (1.0 - share)
        spread = residual + (0.0 if arm.deterministic else (scale * self.seed_sd) ** 2)
        means = truth + lasting + np.sqrt(spread) * rng.standard_normal((studies, seeds))
        unknown = np.full(studies, np.nan)
        count = self.clusters
        left, influence = unknown, None
        if count is not None and root is not None:
            if seeds > 1 and count > 1:
                df = (seeds - 1) * (count - 1)
                left = residual * rng.chisquare(df, studies) / df
            # a cluster's mean varies by K times the error's square, and pulls by 1/K of it
            influence = root * scale * np.sqrt((share + (1.0 - share) / seeds) / count)
        return without_seed_noise(
            arm,
            Moments(
                seeds=seeds,
                clusters=count,
                cluster_df=None if count is None else count - 1.0,
                mean=means.mean(axis=-1),
                seed_variance=means.var(axis=-1, ddof=1) if seeds > 1 else unknown,
                residual_variance=left,
                influence=influence,
            ),
        )


@dataclass(frozen=True, eq=False)
class BinaryDraw(Draw):
    """A unit is right with a probability that is its own; truth other than 0 is a shift of all.

    Attributes:
        clusters: ``[units]`` the cluster of each unit; a cluster's units share the probability.
        rate: mean probability of being right.
        span: what a right unit scores, in units of the metric; a wrong one scores 0.
    """

    clusters: NDArray[np.intp] = field(kw_only=True)
    rate: float = 0.1
    span: float = 1.0

    def moments(
        self,
        arms: Sequence[ArmLayout],
        truth: Mapping[str, float],
        studies: int,
        rng: np.random.Generator,
    ) -> dict[str, Moments]:
        from orchestrator.statistics import moments

        return {
            arm.name: without_seed_noise(
                arm, moments(self._scores(arm, truth[arm.name], studies, rng), self.clusters)
            )
            for arm in arms
        }

    def _scores(
        self, arm: ArmLayout, truth: float, studies: int, rng: np.random.Generator
    ) -> Floats:
        """``[studies, seeds, units]``; a seed moves all probabilities up or down by as much."""
        import numpy as np

        units, seeds = self.clusters.size, len(arm.seeds)
        error = np.sqrt(self.rate * (1 - self.rate) / units)
        move = 0.0 if arm.deterministic else min(self.seed_sd * error, self.rate / 2)
        # probabilities scatter between `move` and 1 - `move`, with the mean that is asked for
        centre = (self.rate - move) / (1 - 2 * move)
        drawn = rng.beta(3 * centre, 3 * (1 - centre), (studies, 1, int(self.clusters.max()) + 1))
        chance = (move + (1 - 2 * move) * drawn)[..., self.clusters]
        moved = move * rng.choice([-1.0, 1.0], (studies, seeds, 1))
        right = rng.random((studies, seeds, units), dtype=np.float32) < chance + moved
        scores = self._scale(arm) * self.span * (right - self.rate)
        return np.asarray(truth + scores)


@dataclass(frozen=True, eq=False)
class RealDraw(Draw):
    """Scores of finished trials, as the module says.

    Attributes:
        clusters: ``[units]`` the cluster of each unit.
        lasting: by arm ``[units]`` its pattern over units, centred.
        residuals: ``[patterns, units]`` what replicates differ by from their arm, centred.
        error: standard error of one seed's mean over the units, in units of the metric.
    """

    clusters: NDArray[np.intp] = field(kw_only=True)
    lasting: Mapping[str, Floats] = field(kw_only=True)
    residuals: Floats = field(kw_only=True)
    error: float = field(kw_only=True)

    def moments(
        self,
        arms: Sequence[ArmLayout],
        truth: Mapping[str, float],
        studies: int,
        rng: np.random.Generator,
    ) -> dict[str, Moments]:
        import numpy as np

        from orchestrator.statistics import moments

        members = [np.flatnonzero(self.clusters == c) for c in range(int(self.clusters.max()) + 1)]
        sizes = np.array([len(one) for one in members])
        count = len(members)
        found: dict[str, list[Moments]] = {arm.name: [] for arm in arms}
        alike = [list(group) for _, group in groupby(sorted(arms, key=_kind), key=_kind)]
        for _ in range(studies):
            chosen = rng.integers(count, size=count)
            units = np.concatenate([members[c] for c in chosen])
            index = np.repeat(np.arange(count), sizes[chosen])
            for group in alike:
                scores = np.stack([self._scores(arm, truth[arm.name], units, rng) for arm in group])
                for arm, one in zip(group, _each(moments(scores, index)), strict=True):
                    found[arm.name].append(one)
        return {arm.name: without_seed_noise(arm, _stacked(found[arm.name])) for arm in arms}

    def _scores(
        self, arm: ArmLayout, truth: float, units: NDArray[np.intp], rng: np.random.Generator
    ) -> Floats:
        """``[seeds, units]`` of one study."""
        pattern = self.lasting[arm.name]
        scores = pattern[units][None, :]
        if not arm.deterministic:
            seeds = len(arm.seeds)
            own = self.residuals[rng.integers(len(self.residuals), size=seeds)]
            moved = self.seed_sd * self.error * rng.standard_normal((seeds, 1))
            scores = scores + own[:, units] + moved
        return truth + self._scale(arm) * scores


def real_draw(measured: Measured, arms: Sequence[ArmLayout]) -> RealDraw | None:
    """Draws from the finished trials of these arms; one without any gets the pattern of another.

    None if fewer than two arms have finished, no arm has two replicates, or they have fewer than
    two clusters in common.
    """
    import numpy as np

    from orchestrator.statistics import cluster_index

    scored = measured.scores
    tables = {arm.name: scored[arm.name].values for arm in arms if arm.name in scored}
    if len(tables) < 2 or all(len(table) < 2 for table in tables.values()):
        return None
    kept = np.isfinite(np.concatenate(list(tables.values()))).all(axis=0)
    clusters = cluster_index(measured.clusters[kept].tolist())
    if not clusters.size or clusters.max() < 1:
        return None
    centred = {
        name: table[:, kept] - table[:, kept].mean(axis=1, keepdims=True)
        for name, table in tables.items()
    }
    means = {name: table.mean(axis=0) for name, table in centred.items()}
    common = np.mean(list(means.values()), axis=0)  # how hard a unit is cancels in differences
    residuals = np.concatenate(
        [
            (table - means[name]) * np.sqrt(len(table) / (len(table) - 1))
            for name, table in centred.items()
            if len(table) > 1
        ]
    )
    donors = [one - common for one in means.values()]
    own = dict(zip(means, donors, strict=True))
    lasting = {arm.name: own.get(arm.name, donors[i % len(donors)]) for i, arm in enumerate(arms)}
    totals = np.stack([np.bincount(clusters, row) for row in [*donors, *residuals]])
    variances = (totals**2).sum(axis=1) / clusters.size**2
    error = np.sqrt(variances[: len(donors)].mean() + variances[len(donors) :].mean())
    return RealDraw(clusters=clusters, lasting=lasting, residuals=residuals, error=float(error))


def without_seed_noise(arm: ArmLayout, moments: Moments) -> Moments:
    """A deterministic arm is one trial, and varies over units only."""
    import numpy as np

    if not arm.deterministic or moments.seeds > 1:
        return moments
    nothing = np.zeros_like(moments.mean)
    return replace(moments, seed_variance=nothing, residual_variance=nothing)


def chunk_size(draw: Draw, arms: Sequence[ArmLayout]) -> int:
    """How many studies to draw at once."""
    if not isinstance(draw, BinaryDraw):
        return 1000
    most = max(len(arm.seeds) for arm in arms)
    return max(1, MOST_NUMBERS // (most * draw.clusters.size))


def _kind(arm: ArmLayout) -> tuple[int, bool]:
    return len(arm.seeds), arm.deterministic


def _each(batch: Moments) -> Iterator[Moments]:
    """The moments of each arm of a batch."""
    if batch.influence is None:
        raise ValueError("moments of scores by unit have influences")
    for i in range(batch.mean.size):
        yield replace(
            batch,
            mean=batch.mean[i],
            seed_variance=batch.seed_variance[i],
            residual_variance=batch.residual_variance[i],
            influence=batch.influence[i],
        )


def _stacked(parts: Sequence[Moments]) -> Moments:
    """The moments of one arm in single studies as those of a batch of them."""
    import numpy as np

    def stack(name: str) -> Floats:
        return np.stack([getattr(one, name) for one in parts])

    return replace(
        parts[0],
        cluster_df=stack("cluster_df"),
        mean=stack("mean"),
        seed_variance=stack("seed_variance"),
        residual_variance=stack("residual_variance"),
        influence=stack("influence"),
    )
