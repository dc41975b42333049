"""The driver of `--on slurm-array`: submits, follows, submits again what was lost. It runs nothing
itself, so its end costs nothing: the jobs go on, and the next `run` attaches to them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from cluster.contract import ClusterError
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.silence import Silence
from orchestrator import cancelling
from orchestrator.array.followed import Blind, Followed, FollowedTask, News
from orchestrator.array.in_queue import close_ended, trials_in_queue
from orchestrator.array.outbox import Outbox
from orchestrator.array.publishing import FilePublisher
from orchestrator.array.refusal import refuse_array
from orchestrator.array.telling import Telling
from orchestrator.array.waves import SentTask, sent_tasks
from orchestrator.counted import counted
from orchestrator.driver import Passed
from orchestrator.engine.feed import Feed, ListedTickets
from orchestrator.engine.ticket import Ticket
from orchestrator.errors import UsageError
from orchestrator.interruption import interrupted_by_terminate
from orchestrator.ledger import read_trial
from orchestrator.planning import Plan, PlannedTrial, Selection
from orchestrator.progress import progress_for
from orchestrator.queue_views import queue_views
from orchestrator.records import Outcome, State
from orchestrator.ticketing import Ticketing

if TYPE_CHECKING:
    from rich.console import Console

    from cluster import Place
    from orchestrator.progress import Progress
    from orchestrator.study import Study

FIRST_LOOK_S = 2.0
LONGEST_LOOK_S = 15.0
"""Looks at the queue grow this far apart while nothing happens."""
ELSEWHERE_EVERY_S = 30.0


class ArrayDriver:
    """One run of a driver that holds the study's seat. `follow`: waits until all is done; else
    submits what the queue takes now, and leaves."""

    def __init__(
        self,
        study: Study,
        selection: Selection,
        place: Place,
        console: Console,
        *,
        follow: bool = True,
    ) -> None:
        refuse_array(study, place)
        self.study, self.selection, self.place, self.console = study, selection, place, console
        self.follow = follow
        self.ran = 0
        self.tell = Telling(study, place, console)
        self.silence = Silence(self.tell.say)
        self._keys = map(str, itertools.count())
        self._key_of: dict[str, str] = {}
        """Token of a ticket → its key in the feed."""

    def carry_out(self, plan: Plan) -> Passed:
        """Raises `UsageError` if SLURM refuses, or its nodes do not see the home."""
        try:
            return self._carry_out(plan)
        except ClusterError as error:
            raise UsageError(str(error)) from error

    def _carry_out(self, plan: Plan) -> Passed:
        from cluster.slurm.check import refuse_wrong
        from cluster.slurm.profiles import settings_for
        from cluster.slurm.records import JobRecords
        from cluster.slurm.submission import adopt_or_cancel_strays

        study = self.study
        settings = settings_for(self.place.detail, study.file.slurm)
        self.slurm = Slurm.find()
        refuse_wrong(settings)
        adopt_or_cancel_strays(self.slurm, study.instance, JobRecords(study.folder))
        self.outbox = Outbox(study, settings, self.slurm)
        self.followed = Followed(study.home, tell=self.tell.say)
        self.ticketing = Ticketing.of(study, self.selection)
        self.items = _each_once(plan)
        self.source = ListedTickets.of(
            self.ticketing.planned(item) for item in self.items.values() if item.action == "run"
        )
        self.feed = Feed(study.home, self.source, study.file.retries, max_out=1 << 31)
        self.elsewhere = self._attach(plan)
        if not self.follow:
            return self._submit_and_leave()
        return self._follow(plan)

    # -- submitting -------------------------------------------------------------------------------

    def _attach(self, plan: Plan) -> dict[str, PlannedTrial]:
        """Follows the trials that this study's arrays in the queue have; gives those that others
        work on, which are waited for."""
        others = {i: item for i, item in self.items.items() if item.action == "running"}
        for task in self._tasks_here():
            out = {}
            for handed in task.handed:
                item = others.get(handed.identity)
                if item is None or item.job != task.job:
                    continue
                # more, if what was published meanwhile is not enough for this study
                number = max(handed.outcome_number, item.outcome_number)
                ticket = msgspec.structs.replace(
                    self.ticketing.planned(item), token=handed.token, outcome_number=number
                )
                key = next(self._keys)
                self.feed.out[key] = ticket
                out[key] = msgspec.structs.replace(handed, outcome_number=number)
                del others[handed.identity]
            if out:
                self.followed.add(task, out)
        if self.followed.tasks:
            self.tell.say(f"attached to {len(self.followed.tasks)} tasks that are in the queue")
        return others

    def _tasks_here(self) -> list[SentTask]:
        """Those that this SLURM has: of another cluster's only their trials' files tell."""
        every = list(sent_tasks(self.study.folder))
        here = self.slurm.cluster_name() if every else ""
        return [task for task in every if not here or task.record.cluster in ("", here)]

    def _hand_out(self) -> None:
        """Gives what is to run next to the outbox."""
        tickets: list[Ticket] = []
        while (ticket := self.feed.take(key := next(self._keys))) is not None:
            tickets.append(ticket)
            self._key_of[ticket.token] = key
        self.outbox.put(tickets)

    def _send(self, *, room_was_made: bool) -> bool:
        """Submits what the queue takes; whether that was anything."""
        records = self.outbox.send(room_was_made=room_was_made)
        if not records:
            return False
        self._follow_records({record.id for record in records})
        self.tell.submitted(records, self.outbox.waiting())
        return True

    def _follow_records(self, ids: set[str]) -> None:
        for task in sent_tasks(self.study.folder):
            if task.record.id in ids:
                self.followed.add(task, {self._key_of[h.token]: h for h in task.handed})
        unseen = ids - {followed.task.record.id for followed in self._tasks()}
        if unseen:  # its trials would be waited for, and never heard of
            raise ClusterError(
                f"Job {min(unseen)} was submitted, but what was written of it in "
                f"'{self.study.folder}' cannot be read. It goes on; look at it again: "
                f"{self.tell.again}"
            )

    def _submit_and_leave(self) -> Passed:
        self._hand_out()
        self._send(room_was_made=True)
        if waiting := self.outbox.waiting():
            self.tell.say(
                f"no room in the queue yet for {counted(waiting, 'trial')}: the next wave goes "
                f"with {self.tell.again}"
            )
        self.tell.say(f"How it goes: orrery status {self.study.name}")
        return Passed()

    # -- following --------------------------------------------------------------------------------

    def _follow(self, plan: Plan) -> Passed:
        metric = self.study.file.verdict.metric if self.study.file.verdict else None
        shown: Progress = progress_for(self.console, plan, metric)
        self.publisher = FilePublisher(self.study, plan)
        with ExitStack() as stack:
            stack.enter_context(interrupted_by_terminate())
            try:
                stack.enter_context(shown)
                self.progress = shown
                cancelled = self._until_done()
            except Blind as blind:
                self._cancel_all()
                raise UsageError(self.tell.blind_text(blind)) from None
            except SlurmError:
                if self.followed.tasks:
                    self.tell.goes_on(self._tasks())
                raise
            except KeyboardInterrupt:
                self.tell.goes_on(self._tasks())
                return Passed(self.ran, interrupted=True)
        return Passed(self.ran, cancelled=cancelled, full_disk=self.feed.full_disk)

    def _until_done(self) -> bool:
        """Follows until nothing is out and nothing will come. True if the study was cancelled."""
        wait_s, made_room, looked_elsewhere_s = FIRST_LOOK_S, True, time.monotonic()
        while True:
            if cancelling.asked(self.study.folder):
                self._wind_up()
                return True
            self._hand_out()
            happened = self._send_or_wait(made_room)
            made_room = self._look()
            happened |= made_room | self._read()
            if time.monotonic() - looked_elsewhere_s >= ELSEWHERE_EVERY_S:
                looked_elsewhere_s = time.monotonic()
                self._look_elsewhere()
            self.publisher.publish()
            if self.feed.finished() and not self.elsewhere:
                self.publisher.publish(now=True)
                return False
            wait_s = FIRST_LOOK_S if happened else min(LONGEST_LOOK_S, wait_s * 1.25)
            time.sleep(wait_s)

    def _send_or_wait(self, made_room: bool) -> bool:
        """As `_send`; a controller that cannot be reached is asked again later."""
        try:
            sent = self._send(room_was_made=made_room)
            if self.outbox.waiting() and not self.followed.tasks:
                self.tell.no_room(self.outbox.waiting())
            return sent
        except SlurmError as error:
            if not error.is_transient:
                raise
            self.tell.say(f"SLURM cannot be reached, will be asked again: {error}")
            return False

    def _look(self) -> bool:
        """Asks SLURM once for every task; whether any has moved."""
        tasks = [followed.task for followed in self.followed.tasks.values()]
        if not tasks:
            return False
        views = queue_views((task.asked for task in tasks), fresh_s=0.0)
        self.silence.looked(views.values())
        self.tell.held(views.values())
        close_ended(tasks, views)
        return self.followed.take_views(views)

    def _read(self) -> bool:
        """Takes what the trials' files tell; whether that was anything."""
        news = self.followed.read()
        for one in news:
            self._take(one)
        return bool(news)

    def _take(self, news: News) -> None:
        ticket = self.feed.out.get(news.key)
        if ticket is None:
            return
        if news.kind in ("failed", "again") and self._is_cancelled(ticket):
            news = replace(news, kind="ended", state="cancelled")  # its task has passed it over
        if news.kind == "started":
            self.publisher.started(ticket.identity)
            self.progress.started(ticket.arm, ticket.short)
        elif news.kind == "ended":
            self.feed.succeeded(news.key, news.state)
            self._tell_end(ticket, news.state)
        elif news.kind == "busy":
            del self.feed.out[news.key]
            self.elsewhere[ticket.identity] = self.items[ticket.identity]
        elif news.kind == "again":
            self.feed.busy(news.key)
        else:
            if news.failure is not None and news.failure.kind == "node_lost":
                self.feed.given_up.add(ticket.identity)  # by its task: too often lost
            failed = self.feed.failed(news.key, news.lost, news.memory_kill)
            if failed is None:
                return
            if not failed.again:
                self.ran += 1
                self.publisher.ended(ticket.identity)
            self.progress.failed(ticket.arm, ticket.short, failed.failure, failed.again)

    def _is_cancelled(self, ticket: Ticket) -> bool:
        return ticket.identity in cancelling.cancelled_trials(self.study.folder)

    def _tell_end(self, ticket: Ticket, state: State) -> None:
        outcome = read_trial(self.study.home, ticket.identity).outcome
        self.ran += outcome is None or outcome.study == self.study.instance
        self.publisher.ended(ticket.identity)
        rule = self.study.file.verdict
        value = outcome.values().get(rule.metric) if outcome is not None and rule else None
        self.progress.ended(ticket.arm, ticket.short, state, value)

    def _look_elsewhere(self) -> None:
        """Trials that others work on: those that they have left are handed out here."""
        if not self.elsewhere:
            return
        queued = trials_in_queue(self.study.home)
        for identity, item in list(self.elsewhere.items()):
            record = read_trial(self.study.home, identity)
            if identity in queued or record.state == "running":
                continue
            del self.elsewhere[identity]
            if self._is_enough(record.outcome, item):  # no job is to wait in the queue for it
                self._tell_end(self.ticketing.planned(item), "done")
                continue
            number = max(item.outcome_number, record.next_number)
            self.source.waiting.append(self.ticketing.ticket(item.trial, number, item.afresh))

    def _is_enough(self, outcome: Outcome | None, item: PlannedTrial) -> bool:
        """Whether what another has published is what was planned."""
        if outcome is None or outcome.number < item.outcome_number:
            return False
        return bool(self.study.workload.covers(outcome.observed, item.trial.observed))

    # -- the end ----------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        """The study was cancelled: what waits goes at once, what runs may save before it does."""
        until_s = time.monotonic() + cancelling.GRACE_S
        self._look()
        self._cancel(t.task.job for t in self._tasks() if t.view.state == "queued")
        while any(t.view.state == "running" for t in self._tasks()):
            if time.monotonic() >= until_s:
                break
            time.sleep(1.0)
            self._look()
            self._read()
        self._cancel_all()
        self._read()
        self.publisher.publish(now=True)

    def _cancel_all(self) -> None:
        """Takes every job of this driver out of the queue."""
        self._cancel(sorted({t.task.record.id for t in self._tasks() if not t.view.foreign}))

    def _cancel(self, ids: Iterable[str]) -> None:
        try:
            self.slurm.cancel(ids)
        except SlurmError as error:
            self.tell.say(
                f"SLURM did not cancel the jobs: {error}. Those of a cancelled study end as soon "
                f"as they start; to try again: orrery cancel {self.study.name}"
            )

    def _tasks(self) -> list[FollowedTask]:
        return list(self.followed.tasks.values())


def _each_once(plan: Plan) -> dict[str, PlannedTrial]:
    """What is to run or is under way, by identity."""
    first: dict[str, PlannedTrial] = {}
    for item in plan.trials:
        if item.action in ("run", "running"):
            first.setdefault(item.trial.identity, item)
    return first
