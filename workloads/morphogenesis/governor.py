"""The governor: watches the validation loss, and says when training has broken.

Source: the origin's governor; its thresholds are kept. What happens then (the last good state is
put back, live seeds are dropped) is the episode's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any, Final, Literal

Panic = Literal["nonfinite", "lobotomy", "explosion"]

HISTORY: Final = 20
LEAST_HISTORY: Final = 10
"""Epochs that must have been seen before anything but a lost number is judged."""

LOBOTOMY_BEFORE: Final = 0.6
"""Times ln(classes): a network whose mean loss was below it had learnt something."""
LOBOTOMY_WIDTH: Final = 0.065
"""Times ln(classes): as near to guessing as this is guessing."""

LOSS_ABOVE: Final = 10.0
DEVIATIONS_ABOVE: Final = 6.0
TIMES_ABOVE: Final = 3.0
IN_A_ROW: Final = 2


class Governor:
    """Judges one loss after the other, in nats. `classes` is how many a guess chooses from.

    >>> Governor(10).judge(float("nan"))
    'nonfinite'
    """

    def __init__(self, classes: int) -> None:
        self.guessing = math.log(classes)
        self.history: list[float] = []
        self.anomalies = 0

    def judge(self, loss: float | None) -> Panic | None:
        """Why to roll back after an epoch with this loss; None where there is no reason.

        - nonfinite: the loss is NaN, infinite or could not be measured;
        - lobotomy: the network had learnt something and is at guessing now;
        - explosion: the loss is above 10, above the mean by 6 standard deviations and above 3 times
          the mean, for the second time in a row.

        A loss that is suspicious does not enter the history.
        """
        if loss is None or not math.isfinite(loss):
            self.anomalies = 0
            return "nonfinite"
        if len(self.history) >= LEAST_HISTORY:
            mean = statistics.fmean(self.history)
            if (
                mean < LOBOTOMY_BEFORE * self.guessing
                and abs(loss - self.guessing) < LOBOTOMY_WIDTH * self.guessing
            ):
                self.anomalies = 0
                return "lobotomy"
            far = mean + DEVIATIONS_ABOVE * statistics.pstdev(self.history)
            if loss > LOSS_ABOVE and loss > far and loss > TIMES_ABOVE * mean:
                self.anomalies += 1
                if self.anomalies < IN_A_ROW:
                    return None
                self.anomalies = 0
                return "explosion"
        self.anomalies = 0
        self.history = [*self.history, loss][-HISTORY:]
        return None

    @property
    def suspicious(self) -> bool:
        """Whether the last loss was an anomaly that may yet prove to be none."""
        return self.anomalies > 0

    def to_state(self) -> dict[str, Any]:
        """All that a resumed trial needs, as plain JSON."""
        return {"history": self.history, "anomalies": self.anomalies}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from another governor's `to_state`."""
        self.history = list(state["history"])
        self.anomalies = state["anomalies"]
