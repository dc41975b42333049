"""Trajectories of bounded length."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Trajectory:
    """A value over steps in at most `limit` points that reach from the first to the last.

    When it is full every second point goes, and from then on only every second is taken.
    """

    limit: int = 128
    points: list[tuple[int, float]] = field(default_factory=list)
    """(step, value) of those kept, NaN and infinities among them."""
    last: tuple[int, float] | None = None
    _stride: int = 1
    _seen: int = 0

    def add(self, step: int, value: float) -> None:
        """Takes a point in."""
        self.last = (step, value)
        if self._seen % self._stride == 0:
            self.points.append(self.last)
            if len(self.points) >= self.limit:
                del self.points[1::2]
                self._stride *= 2
        self._seen += 1

    def values(self) -> list[float]:
        """The kept values in order, the newest last."""
        kept = [value for _, value in self.points]
        if self.last is not None and self.points[-1] != self.last:
            kept.append(self.last[1])
        return kept
