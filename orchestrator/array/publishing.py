"""Brings MLflow up to date while a driver without Ray waits: by the files, as `status` does."""

from __future__ import annotations

import dataclasses
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.ledger import read_trial
from orchestrator.planning import Plan
from orchestrator.publishing import sink_of, study_run, trial_end, trial_run
from orchestrator.watching.growth_note import GrowthNote
from telemetry import publish_study

if TYPE_CHECKING:
    from orchestrator.study import Study
    from telemetry import Sink

logger = logging.getLogger(__name__)

EVERY_S = 20.0
SHARE = 0.2
"""At most so much of the time is spent on publishing."""


class FilePublisher:
    """Publishes the trials that it is told of, once in a while. What fails is tried again."""

    def __init__(self, study: Study, plan: Plan) -> None:
        self._study, self._plan = study, plan
        self._growth = GrowthNote(study)
        self._sink: Sink | None = None
        self._due: set[str] = set()
        self._running: set[str] = set()
        self._next_at_s = time.monotonic()

    def started(self, identity: str) -> None:
        self._running.add(identity)

    def ended(self, identity: str) -> None:
        """It has a result, or has failed for good."""
        self._running.discard(identity)
        self._due.add(identity)

    def publish(self, *, now: bool = False) -> None:
        """Publishes what has changed, unless it has done so a short while ago."""
        if not now and time.monotonic() < self._next_at_s:
            return
        wanted = self._due | self._running
        if not wanted:
            return
        began = time.monotonic()
        self._due -= self._published(wanted)
        took = time.monotonic() - began
        self._next_at_s = time.monotonic() + max(EVERY_S, took / SHARE)

    def _published(self, wanted: set[str]) -> set[str]:
        home = self._study.home
        self._sink = self._sink or sink_of(home)
        records = {identity: read_trial(home, identity) for identity in wanted}
        items = tuple(
            dataclasses.replace(item, record=record, state=record.state)
            if (record := records.get(item.trial.identity)) is not None
            else item
            for item in self._plan.trials
        )
        self._plan = dataclasses.replace(self._plan, trials=items)
        first = {i.trial.identity: i for i in items if i.trial.identity in wanted}
        try:
            now, growth = datetime.now(UTC), self._growth.text()
            report = publish_study(
                study_run(self._study, self._plan, None, "running", as_of=now, growth=growth),
                [(trial_run(self._study, i), trial_end(self._study, i)) for i in first.values()],
                self._sink,
            )
        except OSError as error:
            logger.warning("nothing could be published for now: %s", error)
            return set()
        return set() if report.busy else wanted - set(report.left)
