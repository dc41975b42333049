"""Alerts of a study: what failed, was lost or cannot be read, and what health and traces say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.attempts import Attempt
from orchestrator.planning import PlannedTrial
from orchestrator.watching.ended import KINDS
from orchestrator.watching.frame import Notice
from orchestrator.watching.spools import TrialSpools

KEPT = 50
"""Alerts of trials that are kept, the gravest; failures are all told, from the trials' records."""
SEVERITY = {"critical": 0, "warning": 1, "info": 2}

_Key = tuple[str, str, str]
"""Trial, kind, step: an alert that holds on changes its text as it goes."""


class Notices:
    """Collects the alerts of trials as they run, and orders all of them for a reader."""

    def __init__(self) -> None:
        self._told: dict[_Key, Notice] = {}
        self._let_go: dict[str, set[_Key]] = {}
        """By trial: what had to make room, and would come back as news at each look."""

    def health(self, item: PlannedTrial, spools: TrialSpools) -> None:
        """Takes in the alerts of a trial's health, each once, with lines that were torn."""
        trial = item.trial
        place = f"{trial.arm} seed {trial.seed}"
        found: dict[_Key, Notice] = {}
        for alert in spools.analytics.training_health().alerts:
            key = (trial.identity, alert.kind, str(alert.step))
            text = f"{place}: {alert.text}"
            found[key] = Notice(alert.level, alert.kind, text, trial.identity)
        if spools.unreadable:
            text = f"{place}: {spools.unreadable} torn or unreadable lines in its spools"
            key = (trial.identity, "unreadable", "")
            found[key] = Notice("info", "unreadable", text, trial.identity)
        gone = self._let_go.get(trial.identity, set()) & found.keys()
        self._let_go[trial.identity] = gone
        self._take({key: notice for key, notice in found.items() if key not in gone})

    def unreadable(self, item: PlannedTrial, why: str) -> None:
        """Takes in that the events of a trial that has ended cannot be read."""
        trial = item.trial
        text = f"{trial.arm} seed {trial.seed}: its events cannot be read: {why}"
        notice = Notice("warning", "damaged", text, trial.identity)
        self._take({(trial.identity, "damaged", ""): notice})

    def attempts(self, item: PlannedTrial, tries: Sequence[Attempt]) -> None:
        """Takes in the attempts of a trial that were lost, or failed and were followed by another.

        How a trial that is over ended is told by its record."""
        trial = item.trial
        for attempt in tries:
            end = attempt.end()
            last = attempt is tries[-1]
            if end is None or end.failure is None or (last and end.state != "preempted"):
                continue
            what = "lost" if end.state == "preempted" else f"failed ({end.failure.kind})"
            text = f"{trial.arm} seed {trial.seed}: attempt {attempt.number} {what}: "
            text += end.failure.cause + ("" if last else "; tried again")
            notice = Notice("warning", "lost", text, trial.identity)
            self._take({(trial.identity, "lost", str(attempt.number)): notice})

    def ended(self, identity: str) -> None:
        """No more is heard of a trial; what was told of it stays, but for what is counted by arm
        (`orchestrator.watching.ended`)."""
        self._let_go.pop(identity, None)
        for key in [key for key in self._told if key[0] == identity and key[1] in KINDS]:
            del self._told[key]

    def all(
        self,
        items: Iterable[PlannedTrial],
        damaged: Mapping[str, str],
        by_arm: Iterable[Notice] = (),
    ) -> tuple[Notice, ...]:
        """Every alert, the gravest kind first, the newest first within it; `by_arm`: those of
        trials that have ended."""
        found = [
            Notice("critical", "damaged", text, identity) for identity, text in damaged.items()
        ]
        seen: set[str] = set()
        for item in items:
            identity = item.trial.identity
            if identity not in seen and (notice := trial_notice(item)) is not None:
                seen.add(identity)
                found.append(notice)
        found += [*reversed(self._told.values()), *by_arm]
        return tuple(sorted(found, key=lambda notice: SEVERITY[notice.level]))

    def _take(self, found: Mapping[_Key, Notice]) -> None:
        self._told |= found
        while len(self._told) > KEPT:
            # the oldest among the least grave
            key = max(self._told, key=lambda key: SEVERITY[self._told[key].level])
            del self._told[key]
            self._let_go.setdefault(key[0], set()).add(key)


def trial_notice(item: PlannedTrial) -> Notice | None:
    """What a trial's record tells by itself: a failure with its cause, or flags of its outcome."""
    trial, record = item.trial, item.record
    place = f"{trial.arm} seed {trial.seed}"
    if item.state == "failed" and record.failure is not None:
        text = f"{place} failed: {record.failure.kind}: {record.failure.cause}"
        return Notice("critical", "failed", text, trial.identity)
    if item.state == "done" and record.outcome is not None and record.outcome.flags:
        text = f"{place}: {', '.join(record.outcome.flags)}"
        if record.outcome.notes:
            text += f" ({'; '.join(record.outcome.notes)})"
        return Notice("warning", "flagged", text, trial.identity)
    return None
