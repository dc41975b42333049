"""What random draws add to an interval: which bytes were hit, which coefficients were kept.

Examples are many and draws are few, and all examples share a draw. So the two are taken apart: half
an interval over examples, of what the draws come to on average, and half of one over draws (t, with
one degree of freedom less than there are draws). Their squares add up; as the means of draws hold
noise of the examples too, that covers rather more than is stated.

What a draw does is seldom symmetric (one byte in a scale is worth hundreds elsewhere), and few
draws do not show it. So t is larger by what a third of the tail of a single 95 % interval adds:
simulated, t alone covered .91 where five draws lie apart by as much as a curve takes to rise, and
so it is .95. It is no factor, since nothing is known as far out as a large family's t lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


SINGLE = 0.025
"""The tail of a single 95 % interval."""
DIVISOR = 3.0
"""By what it is divided, to see how much is added to t."""


def draw_half(parts: Sequence[Floats], tail: float) -> Floats:
    """Half an interval [...] over draws of a sum of independent parts, each [draws, ...].

    `tail` is what is left out at either end. A part of one draw adds nothing: the interval then
    holds for that draw.
    """
    import numpy as np

    from orchestrator.statistics.quantiles import t_upper

    squares = np.zeros(1)
    for part in parts:
        count = len(part)
        if count > 1:
            more = t_upper(SINGLE / DIVISOR, count - 1) - t_upper(SINGLE, count - 1)
            half = (
                float(t_upper(tail, count - 1) + more) * part.std(axis=0, ddof=1) / np.sqrt(count)
            )
            squares = squares + half**2
    return np.asarray(np.sqrt(squares))


def difference(one: Floats, other: Floats) -> tuple[Floats, ...]:
    """Parts whose sum is the first less the second, each [draws, ...].

    As many draws of both are pairs; those of one alone stand against the other as it is; else each
    varies for itself.
    """
    if len(one) == len(other) or 1 in (len(one), len(other)):
        return (one - other,)
    return (one, -other)
