"""What is measured many times on something that is loaded once: subjects, points, switches.

A finished trial's model is a subject. A point is what is asked of it, as plain JSON: which of its
parts are on (`{"on": ["early", "late"]}`), or which share of its coefficients is kept. The
orchestrator packs a subject once, opens it in each warm worker, and hands it points in chunks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Point = Mapping[str, Any]
"""Plain JSON; its canonical form is hashed."""

Packed = Mapping[str, Any]
"""A subject on its way to the workers: arrays, bytes and plain data. Arrays lie in shared memory
and are read-only there."""

ON = "on"
"""The key of a point that says which factors are on: names, in the subject's order."""


@dataclass(frozen=True)
class Measured:
    """What one point came to.

    Attributes:
        values: metrics by name, accuracies in percent, losses in nats; None: not measured.
        scores: ``[units]`` the subject's `score_metric` by example; None where there is none.
        error: one line of cause where the point could not be measured; then the rest is empty.
        note: text beside the numbers, such as what the model wrote; kept with the point.
    """

    values: Mapping[str, float | None]
    scores: NDArray[np.float32] | None = None
    error: str | None = None
    note: str | None = None


class Subject(ABC):
    """Something that is loaded once and measured at many points.

    `score_metric` is the metric whose scores by example are kept. `units` and `clusters` are ids
    of the examples, of length [units], the same for every point.
    """

    score_metric: str
    units: Sequence[str]
    clusters: Sequence[str]

    @abstractmethod
    def measure(self, points: Sequence[Point]) -> Iterator[Measured]:
        """One `Measured` for each point, in order. A point that fails is told by its `error`; what
        it raises ends the worker."""


class SwitchableSubject(Subject):
    """A model with parts that can be switched off, one by one."""

    @abstractmethod
    def factors(self) -> tuple[str, ...]:
        """What can be switched off, in its order along the network."""

    @abstractmethod
    def evaluate(self, coalition: frozenset[str]) -> Measured:
        """How the model does with just these factors on, the others off.

        Leaves the model, its buffers and random numbers as they were.
        """

    def evaluate_all(self, coalitions: Sequence[frozenset[str]]) -> Iterator[Measured]:
        """As `evaluate` of each, in order; a model that can share work between them overrides it.

        What `evaluate` raises becomes the `error` of that coalition.
        """
        for coalition in coalitions:
            try:
                yield self.evaluate(coalition)
            except (ArithmeticError, RuntimeError, ValueError) as error:
                yield Measured({}, error=one_line(error))

    def measure(self, points: Sequence[Point]) -> Iterator[Measured]:
        """Points are `{"on": [names]}`."""
        known = set(self.factors())
        coalitions = [frozenset(point[ON]) for point in points]
        for coalition in coalitions:
            if coalition - known:
                strange = ", ".join(sorted(coalition - known))
                raise ValueError(f"no factor {strange}; factors: {', '.join(self.factors())}")
        return self.evaluate_all(coalitions)


def one_line(error: BaseException) -> str:
    """The cause of an error in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
