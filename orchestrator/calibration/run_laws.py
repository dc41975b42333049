"""Figures of the runs of one arm, whose share, part of runs, median or mean is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.laws import Kind
    from orchestrator.claims.result import Statistic

    Floats = NDArray[np.float64]

DROPPED = 0.05
"""Part of the runs that have a share of 0 where shares drop."""
SKEWED_SD = 0.3
"""Of a law of mean 1, before it is brought to an SD of 1."""


@dataclass(frozen=True)
class RunLaw:
    """How runs scatter.

    Attributes:
        values: of medians and means; `down`: the long tail lies below.
        shares: `scattered`: runs have shares of their own, of which `alike` is the correlation of
            two units of a run. `dropping`: some runs have a share of 0, and the others of units
            that are alike in nothing.
    """

    values: Kind = "normal"
    down: bool = False
    shares: Literal["scattered", "dropping"] = "scattered"
    alike: float = 0.1

    @property
    def described(self) -> dict[str, str | float]:
        """For a table of conditions."""
        tail = "" if self.values == "normal" else f", long tail {'down' if self.down else 'up'}"
        shares = self.shares if self.shares == "dropping" else f"alike {self.alike:g}"
        return {"medians, means": self.values + tail, "shares": shares}

    def draw(
        self,
        statistic: Statistic,
        truth: float,
        scale: float,
        units: int,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> Floats:
        """Figures [studies, runs]; medians and means scatter with an SD of `scale`."""
        import numpy as np

        if statistic == "runs":
            return (rng.random(size) < truth).astype(np.float64)
        if statistic == "share":
            return self._shares(truth, units, size, rng)
        drawn = self._standard(size, rng, centre=statistic)
        return truth + scale * (-drawn if self.down else drawn)

    def _shares(
        self, truth: float, units: int, size: tuple[int, int], rng: np.random.Generator
    ) -> Floats:
        import numpy as np

        if truth in (0.0, 1.0):
            return np.full(size, truth)
        if self.shares == "dropping" and truth <= 1 - DROPPED:
            others = rng.binomial(units, truth / (1 - DROPPED), size) / units
            return np.where(rng.random(size) < DROPPED, 0.0, others)
        spread = (1 - self.alike) / self.alike
        own = rng.beta(truth * spread, (1 - truth) * spread, size)
        return rng.binomial(units, own) / units

    def _standard(
        self, size: tuple[int, int], rng: np.random.Generator, centre: Statistic
    ) -> Floats:
        """An SD of 1 and a mean, or median, of 0."""
        import numpy as np
        from scipy import special

        sd = SKEWED_SD
        if self.values == "normal":
            return rng.standard_normal(size)
        if self.values == "gamma":
            shape = 1 / sd**2
            middle = 1.0 if centre == "mean" else float(special.gammaincinv(shape, 0.5)) / shape
            return (rng.gamma(shape, 1 / shape, size) - middle) / sd
        log_sd = np.sqrt(np.log1p(sd**2))
        middle = 1.0 if centre == "mean" else float(np.exp(-(log_sd**2) / 2))
        return np.asarray(
            (np.exp(log_sd * rng.standard_normal(size) - log_sd**2 / 2) - middle) / sd
        )
