"""The watcher: looks at a study's files again and again, and says each time how it stands."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.attempts import attempts
from orchestrator.driving import driver_of, seat_text
from orchestrator.jobs_shown import JobsWatch
from orchestrator.ledger import TrialRecord
from orchestrator.planning import PlannedTrial
from orchestrator.publishing import reproduce_command
from orchestrator.records import State
from orchestrator.search_list import SearchList
from orchestrator.verdict.numbers import decimals
from orchestrator.watching.arms import arms_so_far, trial_value
from orchestrator.watching.ended import EndedHealth
from orchestrator.watching.frame import Change, Frame, Growth, Notice, StudyState
from orchestrator.watching.notices import Notices
from orchestrator.watching.points import PointsWatch
from orchestrator.watching.spools import TrialSpools, growth_of, running_trial
from orchestrator.watching.trial_files import TrialFiles

if TYPE_CHECKING:
    from orchestrator.study import Study
    from telemetry.analytics import TrainingAnalytics

OVER = {"done", "pruned", "failed"}
REPLAN_EVERY_S = 5.0
"""How often a search's list of proposals is read while it grows."""


class Watcher:
    """Looks at a study. `look` costs what is new since the last one; see `TrialFiles`.

    Raises what `Study.plan` raises if the study cannot be planned.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.rule = study.file.verdict
        self._files = TrialFiles(study.home)
        self._items: list[PlannedTrial] = []
        self._places: dict[str, list[int]] = {}
        """Identity -> where it stands among the items: arms may share a trial."""
        self._to_propose = 0
        self._list_stamp: int | None = None
        self._planned_at = 0.0
        self._spools: dict[str, TrialSpools] = {}
        self._baselines: dict[str, dict[int, float]] = {}
        """Of the comparator's trials that are done, at most one a seed."""
        self._last_growth: Growth | None = None
        self._notices = Notices()
        self._ended_health = EndedHealth(study.home)
        self._jobs = JobsWatch(study.folder)
        self._points = PointsWatch(study)
        self._first = True
        self._answer: tuple[str, str] | None = None
        self._plan()

    # -- looking ----------------------------------------------------------------------------------

    def look(self, *, whole: bool = False) -> Frame:
        """How the study stands. `whole`: reads spools to their ends, however long that takes."""
        self._plan_again()
        changed = self._files.look()
        before = {i: self._items[self._places[i][0]].state for i in changed}
        for identity in changed:
            self._update(identity)
            self._look_back(identity)
        fresh = [i for i in changed if self._state(i) != before[i] or self._new_attempt(i)]
        if self._first:
            fresh += [i for i in self._places if self._state(i) == "running" and i not in fresh]
            for identity in self._places:
                self._look_back(identity)
            self._last_growth = self._ended_growth()
            self._first = False
        for identity in self._spools.keys() - self._running():
            self._leave(identity)
        for identity in self._running():
            self._read_spools(identity, whole)
        fresh.sort(key=lambda identity: self._places[identity])
        changes = tuple(self._change(i) for i in fresh if self._state(i) != "planned")
        return self._frame(changes, whole)

    def _frame(self, changes: tuple[Change, ...], whole: bool) -> Frame:
        driver = driver_of(self.study)
        claim = driver.claim() if driver else None
        jobs = self._jobs.look(now=whole)
        goes_on = driver is not None or any(job.goes_on_alone for job in jobs)
        state = self._study_state(driver is not None, goes_on)
        points = self._points.look(self._items, now=whole or state in ("done", "failed"))
        if state == "finishing" and points and points.measured + points.failed < points.asked:
            state = "measuring points"
        rule, now = self.rule, time.time()
        metric = rule.metric if rule else None
        running = [
            running_trial(self._item(i), self._files.attempt(i), self._spools[i], metric)
            for i in self._running()
        ]
        return Frame(
            study=self.study.instance,
            question=self.study.file.question,
            state=state,
            driver=seat_text(driver) if driver and claim else None,
            elapsed_s=max(0.0, now - claim.claimed_at_s) if claim else None,
            left_s=self._left_s({one.identity: one.running_s for one in running}),
            counts=dict(Counter(item.state for item in self._items)),
            planned=len(self._items) + self._to_propose,
            metric=metric,
            unit=rule.unit if rule else "",
            direction=rule.direction if rule else "higher",
            places=decimals([(b.at_least, b.name) for b in rule.bands]) if rule else 1,
            comparator=rule.comparator if rule else None,
            arms=tuple(arms_so_far(rule, self._items)),
            running=tuple(running),
            growth=self._growth(),
            notices=self._all_notices(),
            changes=changes,
            answer=self._verdict(state),
            resume=reproduce_command(self.study),
            jobs=jobs,
            points=points,
        )

    # -- trials -----------------------------------------------------------------------------------

    def _plan(self) -> None:
        listed = self._files.listing()
        self._list_stamp = self._search_stamp()
        made = self.study.plan()
        known = {item.trial.identity: item for item in self._items}
        self._items, self._places = [_as_known(item, known) for item in made.trials], {}
        for place, item in enumerate(self._items):
            self._places.setdefault(item.trial.identity, []).append(place)
        self._to_propose = made.proposals_left
        self._planned_at = time.monotonic()
        self._files.follow({i.trial.identity: i.record for i in self._items}, listed)

    def _plan_again(self) -> None:
        """A search grows while it runs; no other study does."""
        if self.study.searching is None or self._search_stamp() == self._list_stamp:
            return
        if time.monotonic() - self._planned_at >= REPLAN_EVERY_S or self._first:
            self._plan()

    def _search_stamp(self) -> int | None:
        if self.study.searching is None:
            return None
        try:
            return os.stat(SearchList(self.study.folder).path).st_mtime_ns
        except FileNotFoundError:
            return None

    def _item(self, identity: str) -> PlannedTrial:
        return self._items[self._places[identity][0]]

    def _state(self, identity: str) -> State:
        return self._item(identity).state

    def _running(self) -> list[str]:
        return [i for i in self._places if self._state(i) == "running"]

    def _update(self, identity: str) -> None:
        record = self._files.records[identity]
        for place in self._places[identity]:
            item = self._items[place]
            state = self._state_of(item, record)
            self._items[place] = dataclasses.replace(item, record=record, state=state)

    def _state_of(self, item: PlannedTrial, record: TrialRecord) -> State:
        """As a plan sees it: a result that was observed less widely than is asked is missing."""
        if item.state == "pruned" and record.outcome is None and record.state != "running":
            return "pruned"
        if record.state == "done" and record.outcome is not None:
            enough = self.study.workload.covers(record.outcome.observed, item.trial.observed)
            return "done" if enough else "planned"
        return record.state

    def _look_back(self, identity: str) -> None:
        """Tells of lost attempts, of a trial that is not over: what came of them is not known."""
        item = self._item(identity)
        if item.state not in OVER and item.record.attempts:
            self._notices.attempts(item, attempts(self.study.home.trial(identity)))

    def _new_attempt(self, identity: str) -> bool:
        spools, attempt = self._spools.get(identity), self._files.attempt(identity)
        return (
            spools is not None
            and attempt is not None
            and 0 <= spools.analytics.ranks.attempt < attempt.number
        )

    def _change(self, identity: str) -> Change:
        item = self._item(identity)
        outcome, failure = item.record.outcome, item.record.failure
        done = item.state == "done" and outcome is not None
        return Change(
            identity=identity,
            arm=item.trial.arm,
            seed=item.trial.seed,
            state=item.state,
            attempt=item.record.attempts - 1,
            value=trial_value(self.rule, item),
            seconds=outcome.finished_at_s - outcome.started_at_s if outcome and done else None,
            cause=f"{failure.kind}: {failure.cause}" if failure and not done else None,
        )

    # -- what they say ----------------------------------------------------------------------------

    def _read_spools(self, identity: str, whole: bool) -> None:
        spools = self._spools.get(identity)
        if spools is None:
            folder = self.study.home.trial(identity)
            spools = self._spools[identity] = TrialSpools(folder)
            self._ended_health.forget(identity)
        if whole:
            spools.read_all()
        else:
            spools.read()
        self._compare(identity, spools)
        self._notices.health(self._item(identity), spools)

    def _leave(self, identity: str) -> None:
        """A trial ended: what it said since the last look, then its spools are let go."""
        spools = self._spools.pop(identity)
        item = self._item(identity)
        try:
            spools.read_rest()
        except OSError as error:
            self._notices.unreadable(item, str(error))
        self._notices.health(item, spools)
        self._notices.ended(identity)
        ended = growth_of(item, spools.analytics, False)
        before = self._last_growth
        if ended is not None and (before is None or _grows(ended) or not _grows(before)):
            self._last_growth = ended

    def _growth(self) -> Growth | None:
        """Of the running trial that is furthest, else of the one that ended last. A host that grows
        nothing (the comparator, mostly) gives way to one that grows."""
        found = [
            growth
            for identity in self._running()
            if (growth := growth_of(self._item(identity), self._spools[identity].analytics, True))
        ]
        if self._last_growth is not None and not any(map(_grows, found)):
            found = [self._last_growth, *found] if _grows(self._last_growth) else found
        return max(found, key=lambda g: (_grows(g), g.epoch or 0.0), default=self._last_growth)

    def _ended_growth(self) -> Growth | None:
        """Of the trial that was done last when the watch began, if its rows tell of any growth."""
        ended = [item for item in self._items if item.state == "done"]
        last = max(ended, key=lambda item: _finished_at(item), default=None)
        if last is None:
            return None
        folder = self.study.home.trial(last.trial.identity)
        try:
            rows = (folder / "rows.jsonl").read_bytes()
        except FileNotFoundError:
            return None
        if not any(mark in rows for mark in (b'"slot/', b'"policy/', b'"shapley/')):
            return None
        seen = self._from_files(last)
        return None if seen is None else growth_of(last, seen, False)

    def _compare(self, identity: str, spools: TrialSpools) -> None:
        """Gives a trial that grows something the comparator's accuracies under the same seed."""
        mine = self._item(identity).trial
        if self.rule is None or mine.arm == self.rule.comparator or not spools.analytics.slots:
            return
        for item in self._items:
            if item.trial.arm != self.rule.comparator or item.trial.seed != mine.seed:
                continue
            accuracies = self._accuracies(item)
            if accuracies:
                source = f"arm '{item.trial.arm}' with the same seed ({item.trial.identity[:8]})"
                spools.analytics.compare_with(accuracies, source)
            return

    def _accuracies(self, item: PlannedTrial) -> dict[int, float]:
        """Accuracy by epoch of another trial: as it runs, or once from its files."""
        identity = item.trial.identity
        if (running := self._spools.get(identity)) is not None:
            return {epoch: value for epoch, value, _ in running.analytics.accuracy_trajectory()}
        if item.state != "done":
            return {}
        if identity not in self._baselines:
            seen = self._from_files(item)
            points = [] if seen is None else seen.accuracy_trajectory()
            self._baselines[identity] = {epoch: value for epoch, value, _ in points}
        return self._baselines[identity]

    def _from_files(self, item: PlannedTrial) -> TrainingAnalytics | None:
        """What a trial told that has ended; None, with an alert, if its events cannot be read."""
        from telemetry.analytics import analytics_of

        try:
            return analytics_of(self.study.home.trial(item.trial.identity), tiers=(1, 2))
        except OSError as error:
            self._notices.unreadable(item, str(error))
            return None

    def _all_notices(self) -> tuple[Notice, ...]:
        ended = [item for item in self._items if item.state in OVER]
        self._ended_health.look(ended)
        return self._notices.all(
            self._items, self._files.damaged, self._ended_health.notices(ended)
        )

    # -- the study --------------------------------------------------------------------------------

    def _study_state(self, driven: bool, goes_on: bool) -> StudyState:
        states = {item.state for item in self._items}
        if states <= OVER and not self._to_propose and states:
            if driven:
                return "finishing"
            return "failed" if "failed" in states else "done"
        if goes_on or "running" in states:
            return "running"
        return "planned" if states <= {"planned"} and not self._was_driven() else "stopped"

    def _was_driven(self) -> bool:
        return bool(attempts(self.study.folder / "driver"))

    def _left_s(self, running: dict[str, float | None]) -> float | None:
        """From the mean time of an arm's trials (of all, where it has none yet) and how many run
        at once."""
        took: dict[str, list[float]] = defaultdict(list)
        for item in self._items:
            if item.state == "done" and (outcome := item.record.outcome) is not None:
                took[item.trial.arm].append(outcome.finished_at_s - outcome.started_at_s)
        if not took or not running:
            return None
        typical = statistics.fmean(seconds for times in took.values() for seconds in times)
        left_s = self._to_propose * typical
        for identity, places in self._places.items():
            item = self._items[places[0]]
            if item.state in OVER:
                continue
            times = took.get(item.trial.arm)
            expected = statistics.fmean(times) if times else typical
            left_s += max(0.0, expected - (running.get(identity) or 0.0))
        return left_s / len(running)

    def _verdict(self, state: StudyState) -> str | None:
        """The answer of the study's rule, or to the questions that it states without one, once
        nothing more happens."""
        if state not in ("done", "failed"):
            self._answer = None
            return None
        key = ",".join(f"{i.trial.identity}:{i.record.attempts}" for i in self._items)
        if self._answer is None or self._answer[0] != key:
            self._answer = (key, self._answered())
        return self._answer[1] or None

    def _answered(self) -> str:
        from orchestrator.findings import findings_of
        from orchestrator.judging import verdict_of
        from orchestrator.reporting import saved_report

        made = self.study.plan()
        saved = saved_report(self.study, made)
        if self.rule is None:
            return (saved.findings if saved else findings_of(self.study, made)).answer
        verdict = saved.verdict if saved and saved.verdict else verdict_of(self.study, made)
        return verdict.answer


def _as_known(item: PlannedTrial, known: Mapping[str, PlannedTrial]) -> PlannedTrial:
    """A trial planned anew, as it was at the last look: what has changed since is for the next."""
    before = known.get(item.trial.identity)
    if before is None or item.state == "pruned":
        return item
    return dataclasses.replace(item, record=before.record, state=before.state)


def _finished_at(item: PlannedTrial) -> float:
    return item.record.outcome.finished_at_s if item.record.outcome else 0.0


def _grows(growth: Growth) -> bool:
    """Whether the trial has slots in which something may grow, as far as it has told."""
    return growth.slots > 0
