"""How far the points are that a study asks of its finished models, from its files alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import OrreryError
from orchestrator.evaluation.points import asked_of, asks_points
from orchestrator.evaluation.subjects import known_points
from orchestrator.planning import PlannedTrial, Selection
from orchestrator.watching.frame import PointsSoFar

if TYPE_CHECKING:
    from orchestrator.study import Study

EVERY_S = 2.0
"""How often the files of points are looked at, at most."""
SHARE = 0.05
"""Of the time that may be spent on it: many models have many files."""


class PointsWatch:
    """Looks at a study's points now and then."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._found: PointsSoFar | None = None
        self._next_s = 0.0

    def look(self, items: Sequence[PlannedTrial], *, now: bool) -> PointsSoFar | None:
        """What is known by now, or was a moment ago unless `now`; None for a study that asks for
        no points, or whose points cannot be told."""
        began_s = time.monotonic()
        if not now and began_s < self._next_s:
            return self._found
        try:
            self._found = self._count(items)
        except OrreryError:  # `run` and `status` say what is wrong with it
            self._found = None
        took_s = time.monotonic() - began_s
        self._next_s = began_s + took_s + max(EVERY_S, took_s / SHARE)
        return self._found

    def _count(self, items: Sequence[PlannedTrial]) -> PointsSoFar | None:
        asked = known = failed = 0
        once = {item.trial.identity: item for item in items}
        for item in once.values():
            if not asks_points(self._study, item.trial.arm):
                continue
            points = asked_of(self._study, item.trial)
            asked += len(points.hashes)
            if item.state == "done" and item.record.outcome is not None:
                found = known_points(self._study, item.record.outcome, points, Selection())
                known, failed = known + len(found.measured), failed + len(found.failed)
        return PointsSoFar(asked, known, failed) if asked else None
