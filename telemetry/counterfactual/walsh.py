"""Shapley and Banzhaf weights from a sample, by regression on signs with a smooth remainder.

A game is a sum over sets of factors of a coefficient times the product of their signs (+1 on, -1
off): the Walsh expansion. A Shapley value is made of the odd degrees alone, and those are what the
half difference of a coalition and its complement measures. Degree 1 is fitted freely; degrees 3, 5,
… are taken as random, each with a fixed share of the variance of the one before. The best linear
unbiased prediction under that model (universal kriging) gives weights that do not depend on the
values, reproduce every measured value, and are the exact ones once all coalitions are measured.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import comb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECAY = 0.2
"""Variance of each odd degree as a share of that two below."""
MOST_SOLVED = 600
"""Up to so many pairs the system is solved as it stands: the time goes with their third power."""
MOST_TRANSFORMED = 20
"""Up to so many factors more pairs than that go by transforms over all 2^(n - 1) of them."""
MOST_PAIRS = 5000
"""The most pairs of more factors than that: the matrix between them has to fit into memory."""
_TOLERANCE = 1e-8
_MOST_STEPS = 5000
_BITS = 7
"""A transform goes by products with matrices of 2^7 rows: larger ones cost more than they save."""


def predicted(states: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of Shapley and of Banzhaf values, each ``[n, pairs]``, over half differences.

    `states`: ``[pairs, n]``, one coalition of each pair, the first factor on. Raises
    `numpy.linalg.LinAlgError` if they do not tell the factors apart.
    """
    import numpy as np

    pairs, n = states.shape
    signs = np.where(states, 1.0, -1.0)
    rest = Remainder(states)
    asked = np.hstack([rest.towards.T, np.zeros((pairs, n))])
    unit = 2 * np.tile(np.eye(n), 2)
    if pairs <= MOST_SOLVED or n > MOST_TRANSFORMED:
        between = rest.between()
        system = np.block([[between, signs], [signs.T, np.zeros((n, n))]])
        solved = np.linalg.solve(system, np.vstack([asked, unit]))[:pairs].T
    else:
        solved = _conjugate(rest, signs, asked, unit).T
    return solved[:n], solved[n:]


class Remainder:
    """Covariances of what degrees 3 and up add, scaled to 1 for degree 3.

    Attributes:
        towards: ``[n, pairs]``: of each Shapley value with the half differences.
        own: the variance of one Shapley value.
    """

    def __init__(self, states: NDArray[np.bool_], decay: float = DECAY) -> None:
        """`states` as of `predicted`."""
        import numpy as np

        self._states = states
        pairs, n = states.shape
        signs = np.where(states, 1.0, -1.0)
        off_beside = ((~states).sum(axis=1)[None] - (~states).T).astype(int)
        self._by_distance = np.zeros(n + 1)
        self._variance = np.zeros(n + 1)
        self.towards = np.zeros((n, pairs))
        self.own = 0.0
        for degree in range(3, n + 1, 2):
            variance = decay ** ((degree - 3) / 2) / comb(n, degree)
            self._variance[degree] = variance
            self._by_distance += variance * _symmetric(n, degree)
            beside = _symmetric(n - 1, degree - 1)[off_beside]
            self.towards += variance * 2 / degree * signs.T * beside
            self.own += variance * 4 / degree**2 * comb(n - 1, degree - 1)

    def between(self) -> NDArray[np.float64]:
        """``[pairs, pairs]``: between half differences."""
        import numpy as np

        n = self._states.shape[1]
        signs = np.where(self._states, 1.0, -1.0)
        apart = np.rint((n - signs @ signs.T) / 2).astype(int)
        found: NDArray[np.float64] = self._by_distance[apart]
        return found

    def times(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """`between` by ``[pairs, k]``, without the matrix where that would be large.

        The sum over odd sets of a variance times the product of signs is a Walsh transform, and its
        inverse another. With the first factor always on, a set stands for itself without it.
        """
        import numpy as np

        pairs, n = self._states.shape
        if pairs <= MOST_SOLVED or n > MOST_TRANSFORMED:
            return self.between() @ columns
        place, variance = self._by_set
        everywhere = np.zeros((len(variance), columns.shape[1]))
        everywhere[place] = columns
        transformed = _transform(everywhere) * variance[:, None]
        result: NDArray[np.float64] = _transform(transformed)[place]
        return result

    @cached_property
    def _by_set(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """``[pairs]`` the place of each pair among all, and ``[2^(n - 1)]`` the variance of the odd
        set that each set without the first factor stands for."""
        import numpy as np

        n = self._states.shape[1]
        place = (~self._states[:, 1:]) @ (1 << np.arange(n - 1))
        sizes = np.array([i.bit_count() for i in range(2 ** (n - 1))])
        return place, self._variance[sizes + 1 - sizes % 2]


def _transform(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Walsh transform of ``[2^bits, k]``, some bits at a time."""
    import numpy as np

    count, k = columns.shape
    done = 1
    while done < count:
        size = min(2**_BITS, count // done)
        block = columns.reshape(-1, size, done * k)
        columns = np.matmul(_signs(size), block).reshape(count, k)
        done *= size
    return columns


@lru_cache(maxsize=_BITS)
def _signs(size: int) -> NDArray[np.float64]:
    """Hadamard's matrix ``[size, size]``."""
    import numpy as np

    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _conjugate(
    rest: Remainder,
    signs: NDArray[np.float64],
    asked: NDArray[np.float64],
    unit: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``[pairs, 2 n]``: as solving the system, by conjugate gradients among the weights that are
    exact for additive games. There the covariances are positive definite: what is orthogonal to
    single signs is made of higher degrees, and each of these has a variance."""
    import numpy as np

    basis, triangle = np.linalg.qr(signs)

    def within(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        inside: NDArray[np.float64] = columns - basis @ (basis.T @ columns)
        return inside

    weights = basis @ np.linalg.solve(triangle.T, unit)
    off = within(asked - rest.times(weights))
    along, length = off.copy(), (off**2).sum(axis=0)
    small = _TOLERANCE**2 * (asked**2).sum(axis=0).max()
    for _ in range(_MOST_STEPS):
        if length.max() <= small:
            return weights
        towards = within(rest.times(along))
        curved = (along * towards).sum(axis=0)
        step = np.divide(length, curved, out=np.zeros_like(length), where=length > small)
        weights += step * along
        off -= step * towards
        before, length = length, (off**2).sum(axis=0)
        along = off + np.divide(length, before, out=np.zeros_like(length), where=before > 0) * along
    raise np.linalg.LinAlgError(f"not solved in {_MOST_STEPS} steps")


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
