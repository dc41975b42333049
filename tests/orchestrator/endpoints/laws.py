"""Paired differences whose true mean is known: what intervals are tried on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["normal", "gamma", "lognormal"]
TRUTH = 1.0


@dataclass(frozen=True)
class Law:
    """Differences [seeds, clusters x size] that are added, or (skewed ones) multiplied.

    Attributes:
        seed_sd: of what the seed does, in units of the mean; `in_errors`: in standard errors of
            the mean over texts.
        text_sd: of what a text has under every seed; half of it under each seed for itself.
        alike: the part of a text's variance that its cluster shares.
        centred: their mean is taken off, so that the truth is 0 and both signs occur.
    """

    kind: Kind
    seeds: int
    clusters: int
    size: int = 1
    seed_sd: float = 0.0
    in_errors: bool = True
    text_sd: float = 0.5
    alike: float = 0.0
    centred: bool = False

    @property
    def truth(self) -> float:
        return 0.0 if self.centred else TRUTH

    def draw(self, studies: int, rng: np.random.Generator) -> Floats:
        """[studies, seeds, units], and units lie by cluster."""
        units = self.clusters * self.size
        error = self.text_sd * np.sqrt(self.alike / self.clusters + (1 - self.alike) / units)
        seed_sd = self.seed_sd * (error if self.in_errors else 1.0)
        parts = [
            self._one(rng, seed_sd, (studies, self.seeds, 1)),
            np.repeat(
                self._one(rng, self.text_sd * self.alike**0.5, (studies, 1, self.clusters)),
                self.size,
                axis=-1,
            ),
            self._one(rng, self.text_sd * (1 - self.alike) ** 0.5, (studies, 1, units)),
            self._one(rng, self.text_sd / 2, (studies, self.seeds, units)),
        ]
        if self.kind == "normal":
            made = TRUTH + sum(part - 1.0 for part in parts)
        else:
            made = np.prod(np.broadcast_arrays(*parts), axis=0)
        return np.asarray(made - TRUTH * self.centred)

    def index(self) -> NDArray[np.intp]:
        return np.repeat(np.arange(self.clusters), self.size)

    def _one(self, rng: np.random.Generator, sd: float, size: tuple[int, ...]) -> Floats:
        """Mean 1; of a factor never below 0."""
        if sd == 0.0:
            return np.ones(size)
        if self.kind == "normal":
            return 1 + sd * rng.standard_normal(size)
        if self.kind == "gamma":
            return np.asarray(rng.gamma(1 / sd**2, sd**2, size))
        log_sd = np.sqrt(np.log1p(sd**2))
        return np.asarray(np.exp(log_sd * rng.standard_normal(size) - log_sd**2 / 2))
