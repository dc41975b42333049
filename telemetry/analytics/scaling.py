"""How large a traditional model would have to be: interpolation on a host scaling curve."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ParamsEstimate:
    """A model size read off a scaling curve. It is an estimate, and `note` says from what."""

    params: int | None
    """None where there is no curve, no accuracy, or the accuracy is beyond the curve's ends."""
    note: str


@dataclass(frozen=True)
class ScalingCurve:
    """Accuracy (percent) of static hosts by their parameter count, measured elsewhere.

    Raises `ValueError` for fewer than two sizes, or a size that is not positive.
    """

    points: Sequence[tuple[int, float]]
    source: str
    """Where the points come from, as a reader should be told."""

    def __post_init__(self) -> None:
        sizes = {params for params, _ in self.points}
        if len(sizes) < 2 or min(sizes) <= 0:
            raise ValueError(
                f"a scaling curve needs two or more positive sizes, got {sorted(sizes)}"
            )

    def size_for(self, accuracy: float) -> ParamsEstimate:
        """The smallest size at which the curve reaches `accuracy`, linear in log(size)."""
        curve = sorted(self.points)
        for (small, low), (large, high) in itertools.pairwise(curve):
            if not min(low, high) <= accuracy <= max(low, high):
                continue
            share = 0.0 if high == low else (accuracy - low) / (high - low)
            params = math.exp(math.log(small) + share * (math.log(large) - math.log(small)))
            return ParamsEstimate(round(params), f"estimate, interpolated on {self.source}")
        values = [value for _, value in curve]
        return ParamsEstimate(
            None,
            f"n/a: {accuracy:.1f} % is outside the {min(values):.1f} to {max(values):.1f} % "
            f"of {self.source}",
        )
