"""The singular values of the newest W vectors, kept up to date by one row of products a step.

The squares of a window's singular values are the eigenvalues of its W×W Gram matrix. A step
changes one row and one column of that matrix, so it costs W dot products and one small
eigenvalue problem, where decomposing the window itself costs a pass of order W²·D.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from telemetry.probes.kernels import kernels

Vector = torch.Tensor | NDArray[Any]

LARGEST_WINDOW = 1024
"""Steps. A step's work grows with the third power of the window; its matrix takes 8 MiB here."""


class GramWindow:
    """A first-in-first-out window of `window` vectors [dim] and their Gram matrix [window, window].

    Vectors are rounded to float32, as they come out of a model, and copied: no tensor that is
    pushed stays alive. Products are taken in float64, where a product of two float32 is exact.
    `dim` is that of the first vector.

    Raises ValueError for a window of less than 2 or more than 1024, or one that is no whole number.

    >>> window = GramWindow(2)
    >>> window.push(np.array([3.0, 0.0]))
    >>> window.singular_values() is None
    True
    >>> window.push(np.array([0.0, 4.0]))
    >>> window.singular_values().tolist()
    [4.0, 3.0]
    """

    def __init__(self, window: int) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 2:
            raise ValueError(
                f"the window is {window!r}; give a whole number of steps of at least 2: one vector "
                "has but one singular value, which says nothing of others"
            )
        if window > LARGEST_WINDOW:
            raise ValueError(
                f"the window is {window} steps; give 2 to {LARGEST_WINDOW}: every step takes the "
                "singular values of all of it"
            )
        self.window = window
        self._pushed = 0
        self._last_broken = 0
        """Which push, counted from 1, was the last that was not finite; 0: none."""
        # Zeros where nothing was pushed yet.
        self._rows: NDArray[np.float32] = np.zeros((window, 0), dtype=np.float32)
        self._gram: NDArray[np.float64] = np.zeros((window, window))
        self._room: NDArray[np.float64] = np.empty((window + 3, window))

    def push(self, vector: Vector) -> None:
        """Takes a vector [dim] in; when the window is full, the oldest leaves it.

        Values that are not finite are taken in as they are, and `finite` is False until they
        have left. Waits for the device that a tensor is on. Raises ValueError for anything but
        one vector, and for one of another length than those before.
        """
        values = _as_float32(vector)
        if values.ndim != 1 or not len(values):
            raise ValueError(
                f"a window takes one vector [dim] a step; it was given shape {list(values.shape)}"
            )
        if not self._rows.shape[1]:
            self._rows = np.zeros((self.window, len(values)), dtype=np.float32)
        elif len(values) != self._rows.shape[1]:
            raise ValueError(
                f"the window holds vectors of {self._rows.shape[1]} values; it was given one of "
                f"{len(values)}: watch one layer with one window"
            )
        slot = self._pushed % self.window
        self._rows[slot] = values
        own = kernels().take_in(self._rows, self._gram, slot)
        self._pushed += 1
        # The square of a float32 can't overflow in float64: a vector's own product tells of it.
        if not math.isfinite(own):
            self._last_broken = self._pushed

    def __len__(self) -> int:
        """How many vectors the window holds."""
        return min(self._pushed, self.window)

    @property
    def full(self) -> bool:
        """Whether the window holds `window` vectors."""
        return self._pushed >= self.window

    @property
    def finite(self) -> bool:
        """Whether all vectors in the window are finite; so is an empty window."""
        return self._last_broken == 0 or self._pushed - self._last_broken >= self.window

    @property
    def gram(self) -> NDArray[np.float64]:
        """The products of the vectors held, [n, n], from the oldest to the newest; a copy."""
        order = self._by_age()
        return self._gram[np.ix_(order, order)]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors held, [n, dim], from the oldest to the newest; a copy."""
        return self._rows[self._by_age()]

    def singular_values(self) -> NDArray[np.float64] | None:
        """The singular values of the window [window], the largest first.

        None until the window is full, and while it holds a value that is not finite. What
        rounding hides is 0: values below about 1e-7 of the largest, as their squares, which are
        what a Gram matrix has, are below 1e-14 of it.
        """
        if not self.full or not self.finite:
            return None
        values = np.empty(self.window)
        # No finite matrix is known for which the iteration does not end.
        return values if kernels().singular_values(self._gram, self._room, values) else None

    def to_state(self) -> dict[str, torch.Tensor]:
        """All that the window holds, as tensors for a checkpoint.

        The Gram matrix is part of it: restored, the window gives the same bits as if it had
        never been put away.
        """
        return {
            "rows": torch.from_numpy(self._rows.copy()),
            "gram": torch.from_numpy(self._gram.copy()),
            "pushed": torch.tensor(self._pushed, dtype=torch.int64),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes over what `to_state` gave. Raises ValueError if it is of another window."""
        missing = [name for name in ("rows", "gram", "pushed") if name not in state]
        if missing:
            raise ValueError(
                f"the state of a window has 'rows', 'gram' and 'pushed'; {missing} is missing"
            )
        gram = state["gram"].detach().cpu().numpy()
        if gram.shape != self._gram.shape or len(state["rows"]) != self.window:
            raise ValueError(
                f"this window is of {self.window} steps, but the state is of {len(gram)}: "
                "go on with the window it was taken with, or start afresh"
            )
        rows = state["rows"].detach().cpu().numpy()
        self._rows = np.array(rows, dtype=np.float32, order="C")
        self._gram = np.array(gram, dtype=np.float64, order="C")
        self._pushed = int(state["pushed"])
        age = (self._pushed - 1 - np.arange(self.window)) % self.window
        youngest = age[~np.isfinite(self._gram.diagonal())].min(initial=self.window)
        self._last_broken = max(0, self._pushed - int(youngest))

    def _by_age(self) -> NDArray[np.intp]:
        """The slots that hold vectors, the oldest first."""
        return np.arange(self._pushed - len(self), self._pushed) % self.window


def _as_float32(vector: Vector) -> NDArray[np.float32]:
    complex_valued = (
        vector.is_complex() if isinstance(vector, torch.Tensor) else np.iscomplexobj(vector)
    )
    if complex_valued:
        raise ValueError("a window takes real vectors; give the real part, or the absolute values")
    if isinstance(vector, torch.Tensor):
        held = vector.detach()
        if held.dtype is not torch.float32 or held.device.type != "cpu":
            held = held.to("cpu", torch.float32)
        values: NDArray[np.float32] = held.numpy()
        return values
    with np.errstate(over="ignore"):  # what float32 can't hold is infinite, as in a model
        return np.asarray(vector, dtype=np.float32)
