"""Shapley and Banzhaf weights from a sample, by regression on signs with a smooth remainder.

A game is a sum over sets of factors of a coefficient times the product of their signs (+1 on, -1
off): the Walsh expansion. A Shapley value is made of the odd degrees alone, and those are what the
half difference of a coalition and its complement measures. Degree 1 is fitted freely; degrees 3, 5,
… are taken as random, each with a fixed share of the variance of the one before. The best linear
unbiased prediction under that model (universal kriging) gives weights that do not depend on the
values, reproduce every measured value, and are the exact ones once all coalitions are measured.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECAY = 0.2
"""Variance of each odd degree as a share of that two below."""


def predicted(states: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of Shapley and of Banzhaf values, each ``[n, pairs]``, over half differences.

    `states`: ``[pairs, n]``, one coalition of each pair. Raises `numpy.linalg.LinAlgError` if they
    do not tell the factors apart.
    """
    import numpy as np

    n = states.shape[1]
    signs = np.where(states, 1.0, -1.0)
    covariance, towards, _ = remainder(states)
    system = np.block([[covariance, signs], [signs.T, np.zeros((n, n))]])
    unit = 2 * np.eye(n)
    asked = np.hstack([np.vstack([towards.T, unit]), np.vstack([np.zeros_like(towards.T), unit])])
    solved = np.linalg.solve(system, asked)[: len(states)].T
    return solved[:n], solved[n:]


def remainder(
    states: NDArray[np.bool_], decay: float = DECAY
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Covariances of what degrees 3 and up add, scaled to 1 for degree 3.

    Between half differences ``[pairs, pairs]``, of each Shapley value with them ``[n, pairs]``, and
    the variance of one Shapley value.
    """
    import numpy as np

    pairs, n = states.shape
    signs = np.where(states, 1.0, -1.0)
    apart = (states[:, None] != states[None]).sum(axis=-1)
    off_beside = ((~states).sum(axis=1)[None] - (~states).T).astype(int)
    between = np.zeros((pairs, pairs))
    towards = np.zeros((n, pairs))
    own = 0.0
    for degree in range(3, n + 1, 2):
        variance = decay ** ((degree - 3) / 2) / comb(n, degree)
        between += variance * _symmetric(n, degree)[apart]
        beside = _symmetric(n - 1, degree - 1)[off_beside]
        towards += variance * 2 / degree * signs.T * beside
        own += variance * 4 / degree**2 * comb(n - 1, degree - 1)
    return between, towards, own


@lru_cache(maxsize=256)
def _symmetric(n: int, degree: int) -> NDArray[np.float64]:
    """``[n + 1]``: the sum over sets of that size of the product of n signs, by how many are -1.

    The Krawtchouk polynomials: signs of two coalitions multiplied are -1 where they differ.
    """
    import numpy as np

    return np.array(
        [
            float(sum((-1) ** j * comb(m, j) * comb(n - m, degree - j) for j in range(degree + 1)))
            for m in range(n + 1)
        ]
    )
