"""What scores of one arm are made of, with a mean that is known: seeds, texts and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kind = Literal["normal", "gamma", "lognormal"]
KINDS: tuple[Kind, ...] = ("normal", "gamma", "lognormal")


@dataclass(frozen=True)
class Law:
    """Scores of mean 1 whose parts are added (`normal`) or multiplied: those are never below 0.

    Attributes:
        seed_sd: of what the seed does to all texts, in units of the mean; `in_errors`: in standard
            errors of the mean over texts.
        text_sd: of what a text has under every seed; half of it under each seed for itself.
        alike: the part of a text's variance that its cluster shares.
    """

    kind: Kind
    seed_sd: float = 0.0
    in_errors: bool = True
    text_sd: float = 0.5
    alike: float = 0.0

    def draw(
        self,
        studies: int,
        seeds: int,
        clusters: NDArray[np.intp],
        rng: np.random.Generator,
        *,
        fixed: bool = False,
        places: bool = False,
    ) -> Floats:
        """[studies, seeds, units].

        Args:
            clusters: [units], numbered from 0.
            fixed: the seed changes nothing: one row, which is every seed's.
            places: the units are no sample of texts, so that nothing of theirs is drawn.
        """
        import numpy as np

        units = clusters.size
        sizes = np.bincount(clusters) / units
        error = self.text_sd * np.sqrt(
            self.alike * float((sizes**2).sum()) + (1 - self.alike) / units
        )
        seed_sd = self.seed_sd * (error if self.in_errors else 1.0)
        parts: list[Floats] = []
        if not places:
            shared = self._part(rng, self.text_sd * self.alike**0.5, (studies, 1, sizes.size))
            parts = [
                shared[..., clusters] if shared.ndim else shared,
                self._part(rng, self.text_sd * (1 - self.alike) ** 0.5, (studies, 1, units)),
            ]
        if not fixed:
            parts += [
                self._part(rng, seed_sd, (studies, seeds, 1)),
                self._part(rng, self.text_sd / 2, (studies, seeds, units)),
            ]
        # logarithms and normal parts are added up before anything as large as all scores is made
        total = sum(sorted(parts, key=np.size), start=np.zeros((studies, 1, units)))
        made = 1.0 + total if self.kind == "normal" else np.exp(total)
        return np.asarray(made)

    def _part(self, rng: np.random.Generator, sd: float, size: tuple[int, ...]) -> Floats:
        """What is added to 1, or the logarithm of a factor of mean 1."""
        import numpy as np

        if sd == 0.0:
            return np.zeros(())
        if self.kind == "normal":
            return sd * rng.standard_normal(size)
        if self.kind == "gamma":
            return np.asarray(np.log(rng.gamma(1 / sd**2, sd**2, size)))
        log_sd = np.sqrt(np.log1p(sd**2))
        return np.asarray(log_sd * rng.standard_normal(size) - log_sd**2 / 2)
