"""Alerts of a study: failed trials, files that cannot be read, what health and traces say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from orchestrator.planning import PlannedTrial
from orchestrator.watching.frame import Notice
from orchestrator.watching.spools import TrialSpools

KEPT = 50
"""Alerts of trials that are kept; failures are all told, from the trials' own records."""
SEVERITY = {"critical": 0, "warning": 1, "info": 2}


class Notices:
    """Collects the alerts of trials as they run, and orders all of them for a reader."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str, str], Notice] = OrderedDict()

    def health(self, item: PlannedTrial, spools: TrialSpools) -> None:
        """Takes in the alerts of a trial's health, each once, with lines that were torn."""
        trial = item.trial
        place = f"{trial.arm} seed {trial.seed}"
        for alert in spools.analytics.training_health().alerts:
            # one that holds on changes its text as it goes; the last text stands
            key = (trial.identity, alert.kind, str(alert.step))
            notice = Notice(alert.level, alert.kind, f"{place}: {alert.text}", trial.identity)
            self._told[key] = notice
        if spools.unreadable:
            text = f"{place}: {spools.unreadable} torn or unreadable lines in its spools"
            key = (trial.identity, "unreadable", "")
            self._told[key] = Notice("info", "unreadable", text, trial.identity)
        while len(self._told) > KEPT:
            self._told.popitem(last=False)

    def all(self, items: Iterable[PlannedTrial], damaged: Mapping[str, str]) -> tuple[Notice, ...]:
        """Every alert, the gravest kind first, the newest first within it."""
        found = [
            Notice("critical", "damaged", text, identity) for identity, text in damaged.items()
        ]
        seen: set[str] = set()
        for item in items:
            identity = item.trial.identity
            if identity not in seen and (notice := trial_notice(item)) is not None:
                seen.add(identity)
                found.append(notice)
        found += reversed(self._told.values())
        return tuple(sorted(found, key=lambda notice: SEVERITY[notice.level]))


def trial_notice(item: PlannedTrial) -> Notice | None:
    """What a trial's record tells by itself: a failure with its cause, or flags of its outcome."""
    trial, record = item.trial, item.record
    place = f"{trial.arm} seed {trial.seed}"
    if item.state == "failed" and record.failure is not None:
        text = f"{place} failed: {record.failure.kind}: {record.failure.cause}"
        return Notice("critical", "failed", text, trial.identity)
    if item.state == "done" and record.outcome is not None and record.outcome.flags:
        text = f"{place}: {', '.join(record.outcome.flags)}"
        return Notice("warning", "flagged", text, trial.identity)
    return None
