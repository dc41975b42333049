"""A SLURM that does not answer: told once, and again when it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from cluster.slurm.queue import JobView

TOLD_AFTER_S = 60.0


class Silence:
    """Watches the answers to looks at the queue, for who waits for jobs."""

    def __init__(
        self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell, self._clock = tell, clock
        self._since_s: float | None = None
        self._told = False

    def looked(self, views: Iterable[JobView]) -> None:
        """Takes what a look has found; no view at all says nothing."""
        seen = list(views)
        unanswered = [view for view in seen if view.unanswered]
        if not seen:
            return
        if len(unanswered) < len(seen):
            if self._told:
                self._tell("SLURM answers again")
            self._since_s, self._told = None, False
            return
        now_s = self._clock()
        if self._since_s is None:
            self._since_s = now_s
        elif not self._told and now_s - self._since_s >= TOLD_AFTER_S:
            self._told = True
            self._tell(f"SLURM does not answer: {unanswered[0].why}; waiting")
