"""What evaluating coalitions gives: scores and losses by example, or why there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workloads.evaluation import one_line

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Score = Callable[[Any, Any], "tuple[torch.Tensor, torch.Tensor]"]
"""`score(output, target)`: scores and losses of a batch, each [examples]."""

FAILURES = (ArithmeticError, RuntimeError, ValueError)
"""What costs one coalition its result, and not the process its life."""


@dataclass(frozen=True)
class CoalitionScores:
    """What one coalition came to over all batches.

    Attributes:
        coalition: the state of each switch.
        scores: [examples] in the order of the batches; None where the coalition failed.
        losses: [examples], nats; None where the coalition failed.
        error: the cause in one line, where it failed.
    """

    coalition: tuple[bool, ...]
    scores: NDArray[np.float32] | None
    losses: NDArray[np.float32] | None
    error: str | None = None


class Collected:
    """Scores of coalitions as they come in, batch by batch. One that failed takes no more."""

    def __init__(self, coalitions: Sequence[tuple[bool, ...]]) -> None:
        self._coalitions = list(coalitions)
        self._parts: list[list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = [
            [] for _ in self._coalitions
        ]
        self._errors: dict[int, str] = {}

    def alive(self) -> list[int]:
        """Positions of the coalitions that have not failed."""
        return [index for index in range(len(self._coalitions)) if index not in self._errors]

    def add(self, indices: Sequence[int], scores: torch.Tensor, losses: torch.Tensor) -> None:
        """The batch's scores and losses, the same for all of `indices`."""
        if scores.shape != losses.shape or scores.ndim != 1:
            raise TypeError(
                f"score gave shapes {tuple(scores.shape)} and {tuple(losses.shape)}; "
                "give one score and one loss for each example of the batch, both [examples]"
            )
        part = (_array(scores), _array(losses))
        for index in indices:
            self._parts[index].append(part)

    def fail(self, indices: Sequence[int], error: BaseException) -> None:
        """These coalitions have no result, and this is why."""
        for index in indices:
            self._errors[index] = one_line(error)
            self._parts[index].clear()

    def results(self) -> list[CoalitionScores]:
        """One for each coalition, in order. A score or loss that is not finite is a failure."""
        return [self._result(index) for index in range(len(self._coalitions))]

    def _result(self, index: int) -> CoalitionScores:
        import numpy as np

        coalition = self._coalitions[index]
        error = self._errors.get(index)
        if error is not None:
            return CoalitionScores(coalition, None, None, error)
        scores, losses = (
            np.concatenate([part[which] for part in self._parts[index]])
            if self._parts[index]
            else np.zeros(0, np.float32)
            for which in (0, 1)
        )
        strange = int(np.sum(~(np.isfinite(scores) & np.isfinite(losses))))
        if strange:
            told = f"score or loss of {strange} of {len(scores)} examples is not finite"
            return CoalitionScores(coalition, None, None, told)
        return CoalitionScores(coalition, scores, losses)


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return array
