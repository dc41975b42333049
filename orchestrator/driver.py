"""The driver: carries out one plan of a study while it holds the study's seat."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.attempts import attempts
from orchestrator.counted import counted
from orchestrator.driving import note_begun
from orchestrator.engine.ticket import Ticket
from orchestrator.errors import UsageError
from orchestrator.evaluation.stage import Evaluated, measure_points
from orchestrator.interruption import interrupted_by_terminate, interruption_noticed
from orchestrator.ledger import read_trial
from orchestrator.obeying import CancelWatch
from orchestrator.planning import Plan, PlannedTrial, Selection
from orchestrator.progress import Progress, progress_for
from orchestrator.publishing import (
    place_of,
    sink_of,
    study_run,
    trial_end,
    trial_run,
)
from orchestrator.records import Failure, State
from orchestrator.searching import SearchTickets
from orchestrator.ticketing import Ticketing
from orchestrator.trials import Trial
from orchestrator.watching.growth_note import GrowthNote
from orchestrator.watching.note import LiveNote

if TYPE_CHECKING:
    from rich.console import Console

    from cluster import Cluster, Place
    from cluster import Resources as ClusterResources
    from orchestrator.engine.feed import Feed, TicketSource
    from orchestrator.evaluation.subjects import SubjectPlan
    from orchestrator.study import Study
    from telemetry import CollectorClient

DRAIN_LIMIT_S = 120.0
FULL_DISK_LIMIT_S = 5.0
"""As the former, where what is left to write most likely cannot be."""
RELEASE_LIMIT_S = 10.0
POINTS_A_WORKER = 64
"""Points of a model that are worth a further worker where these have to be asked for first."""


@dataclass(frozen=True)
class Passed:
    """What one pass over a study came to."""

    ran: int = 0
    measured: int = 0
    """Points, failed ones included."""
    interrupted: bool = False
    followed: bool = False
    """Another driver had the study: it was watched until it ended."""
    left: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What telemetry could not publish, and why."""
    cancelled: bool = False
    """The study was cancelled (`orrery cancel`) while it ran."""
    points_left: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Subjects that were given up, in words, and why."""
    full_disk: str = ""
    """What the trial said that found the disk full: no other was begun after it."""


def without_repeats(selection: Selection) -> Selection:
    """The same without the wish to run things again: what is left to do after they have run."""
    return dataclasses.replace(selection, again=False, same_code=False, retry=False)


def proposals_open(plan: Plan, selection: Selection) -> int:
    return 0 if selection.only else plan.proposals_left


class Driver:
    """One run of a driver that holds the study's seat."""

    def __init__(self, study: Study, selection: Selection, place: Place, console: Console) -> None:
        self.study, self.selection, self.console = study, selection, console
        self.place = place
        self.cluster: Cluster | None = None
        self.feed: Feed | None = None
        self.full_disk = ""
        self.ticketing = Ticketing.of(study, selection)
        self.ran = 0
        self.evaluated = Evaluated()
        self.client: CollectorClient | None = None
        self.trials: dict[str, PlannedTrial | Trial] = {}
        self.progress: Progress | None = None
        self.note: LiveNote | None = None
        self.growth = GrowthNote(study)
        self.out: dict[str, Ticket] = {}
        self.cancel = CancelWatch(study.home, study.instance, lambda: self.feed)

    def carry_out(self, plan: Plan) -> Passed:
        from cluster import ClusterError

        try:
            with interruption_noticed():
                self.cluster = self._cluster(plan)
                with self._waiting("starting Ray, which takes up to half a minute …"), self.cancel:
                    offered = self.cluster.__enter__()
        except ClusterError as error:
            raise UsageError(str(error)) from None  # Ray's own traceback would bury it
        except KeyboardInterrupt:
            if self.cluster is not None:  # in the moment it was there
                self.cluster.__exit__(None, None, None)
            return Passed(interrupted=not self.cancel.asked, cancelled=self.cancel.asked)
        left: dict[str, str] = {}
        try:
            with interrupted_by_terminate():  # anew: Ray has put a handler of its own there
                places = self._places(offered)
                note_begun(self.study)
                workers = self._workers(offered)
                interrupted = self._phases(plan, places, workers)
                left = self._drain(interrupted)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self.cluster.__exit__(None, None, None)
            self._release()
        return Passed(
            self.ran,
            self.evaluated.measured + self.evaluated.failed,
            interrupted,
            left=left,
            cancelled=self.cancel.asked,
            points_left=self.evaluated.left,
            full_disk=self.full_disk,
        )

    def _cluster(self, plan: Plan) -> Cluster:
        from cluster import ClusterRequest, open_cluster

        file, slurm = self.study.file, self.study.file.slurm
        if self.place.kind == "slurm":
            from cluster.slurm.profiles import settings_for

            slurm = settings_for(self.place.detail, slurm)
        return open_cluster(
            self.place,
            ClusterRequest(
                study=self.study.instance,
                home=self.study.home.root,
                folder=self.study.folder,
                trial=file.resources.trial_size,
                trials=max(
                    len(plan.to_run) + proposals_open(plan, self.selection),
                    self._places_for_points(plan.subjects),
                ),
                max_concurrent=file.resources.max_concurrent,
                slurm=slurm,
                tell=lambda line: self.console.print(line, markup=False, highlight=False),
            ),
        )

    def _waiting(self, what: str) -> AbstractContextManager[Any]:
        """Says in a terminal what is waited for; in a log, once, with the time of day."""
        if self.console.is_terminal:
            return self.console.status(what)
        clock = "" if self.console.is_jupyter else f"{time.strftime('%H:%M:%S')} "
        self.console.print(f"{clock}{what}", highlight=False, soft_wrap=True)
        return nullcontext()

    def _places(self, offered: ClusterResources) -> int:
        """How many trials run at once. Raises `UsageError` if not even one fits."""
        wanted = self.study.file.resources
        places = offered.fits(wanted.trial_size)
        if places < 1:
            each = f"{wanted.ranks} ranks of " if wanted.ranks > 1 else ""
            fewer = "-s resources.ranks=… " if wanted.ranks > 1 else ""
            where = "this machine" if self.place.kind == "local" else f"'{self.place}'"
            raise UsageError(
                f"A trial of '{self.study.name}' takes {each}{wanted.cpus:g} CPUs, "
                f"{wanted.gpus:g} GPUs and {wanted.memory_gib or 0:g} GiB, but {where} offers "
                f"{offered.cpus:g}, {offered.gpus:g} and {offered.memory_gib:.1f}. Ask for less: "
                f"{fewer}-s resources.cpus=… -s resources.gpus=… -s resources.memory_gib=…"
            )
        return min(places, wanted.max_concurrent or places)

    def _workers(self, offered: ClusterResources) -> int:
        """How many workers measure points at once: each takes what a rank takes."""
        wanted = self.study.file.resources
        ranks = offered.fits(dataclasses.replace(wanted.trial_size, ranks=1))
        most = wanted.max_concurrent
        return ranks if most is None else min(ranks, most * wanted.ranks)

    def _places_for_points(self, subjects: Sequence[SubjectPlan]) -> int:
        """How many places for trials the workers fill that these models can keep busy."""
        wanted = self.study.file.resources
        asked = [len(one.missing) for one in subjects if one.state in ("open", "waits")]
        workers = sum(math.ceil(points / POINTS_A_WORKER) for points in asked)
        return math.ceil(workers / wanted.ranks)

    def _phases(self, plan: Plan, places: int, workers: int) -> bool:
        from telemetry import start_collector

        parent = study_run(self.study, plan, None, "running")
        self.client = start_collector(sink_of(self.study.home), parent)
        metric = self.study.file.verdict.metric if self.study.file.verdict else None
        proposals = proposals_open(plan, self.selection)
        try:
            with (
                self.cancel,
                LiveNote(plan, self._tell_study) as self.note,
                progress_for(self.console, plan, metric, proposals) as self.progress,
            ):
                listed = listed_trials(plan)
                if listed or proposals:
                    at_once = counted(min(places, len(listed) + proposals), "trial")
                    self.progress.note(f"{at_once} at once; starting their processes …")
                if self.study.searching is not None and not self.selection.only:
                    listed = self._search(listed, places)
                self._engine(self._tickets(listed), places)
                self._measure(plan, workers)
        except KeyboardInterrupt:
            return not self.cancel.asked
        return False

    def _search(self, listed: Sequence[PlannedTrial], places: int) -> list[PlannedTrial]:
        """Carries the search on, and gives what is to go out by list after it: what was listed
        before but for the proposals it has handed out itself, and the winner it came to."""
        design = self.study.searching
        assert design is not None
        source = SearchTickets(self.study, design, self._search_ticket, self.selection.limit)
        self._engine(source, places, scheduled=True)
        if self.note is not None:
            self.note.tell_now()
        after = listed_trials(self.study.plan(without_repeats(self.selection)))
        left = [item for item in listed if item.trial.identity not in source.handed]
        first = {item.trial.identity: item for item in (*after, *left)}
        limited = self.selection.limit is not None  # open proposals wait for the next run
        return [i for i in first.values() if not (limited and i.trial.role == "proposal")]

    def _tickets(self, items: Sequence[PlannedTrial]) -> TicketSource:
        from orchestrator.engine.feed import ListedTickets

        self.trials |= {item.trial.identity: item for item in items}
        return ListedTickets.of(self.ticketing.planned(item) for item in items)

    def _search_ticket(self, trial: Trial, ordinal: int) -> Ticket:
        self.trials[trial.identity] = trial
        return self.ticketing.ticket(trial, 0, ordinal=ordinal)

    def _engine(self, source: TicketSource, places: int, scheduled: bool = False) -> None:
        from orchestrator.engine.feed import Feed
        from orchestrator.engine.tune_engine import TuneEngine

        if source.exhausted() or self.cancel.asked or self.full_disk:
            return
        design = self.study.searching
        feed = self.feed = Feed(self.study.home, source, self.study.file.retries, places)
        self._need()
        engine = TuneEngine(
            self.study.file.resources,
            reusable=self.study.workload.reusable,
            scheduler=design.scheduler if design and scheduled else None,
            metric=design.metric if design else None,
            mode=design.mode if design else "max",
        )
        assert self.client is not None
        engine.run(feed, self, self.client.new_push())
        self.full_disk = feed.full_disk
        if self.full_disk:
            self.console.print(
                f"No further trial is begun, as the disk is full ({self.full_disk}). Free some "
                "space (orrery gc) and give the same command again: what was finished is kept.",
                markup=False,
                highlight=False,
            )

    def _measure(self, plan: Plan, workers: int) -> None:
        """Measures the points that are missing, also of what has been trained just now."""
        if self.cancel.asked or self.full_disk or not plan.subjects:
            return
        assert self.cluster is not None
        assert self.progress is not None
        self.feed = None  # nothing of this stage is lost: a cancelled study interrupts it at once
        once = dataclasses.replace(self.selection, again=False, limit=None)
        subjects = self.study.plan(once).open_subjects
        self.cluster.need(self._places_for_points(subjects))
        self.evaluated = measure_points(
            self.study,
            subjects,
            workers,
            tell=self.progress.note,
            show=self.progress.measured,
            code=self.study.code_digest if self.selection.same_code else None,
        )
        self.cluster.need(0)

    def _need(self) -> None:
        """Tells the cluster how much is left to do."""
        assert self.cluster is not None
        assert self.feed is not None
        self.cluster.need(self.feed.left())

    # -- what the engine tells ------------------------------------------------------------------

    def _tell_study(self, plan: Plan, news: Sequence[str], as_of: datetime) -> None:
        assert self.client is not None
        growth = self.growth.text()
        self.client.update_study(study_run(self.study, plan, None, "running", news, as_of, growth))

    def started(self, ticket: Ticket) -> None:
        self.out[ticket.identity] = ticket
        assert self.client is not None
        assert self.progress is not None
        item = self._item(ticket, "running")
        self.client.register_trial(trial_run(self.study, item))
        if self.note is not None:
            self.note.update(item)
        self.progress.started(ticket.arm, ticket.short)

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None:
        assert self.progress is not None
        if self.note is not None:
            where = f"{ticket.arm} seed {ticket.seed}"
            self.note.reported(ticket.identity, where, step, metrics)
        self.progress.reported(ticket.arm, ticket.short, step, metrics)

    def ended(self, ticket: Ticket, state: State) -> None:
        self._need()
        outcome = self._tell_end(ticket, state).record.outcome
        assert self.progress is not None
        rule = self.study.file.verdict
        value = outcome.values().get(rule.metric) if outcome is not None and rule else None
        self.progress.ended(ticket.arm, ticket.short, state, value)

    def failed(self, ticket: Ticket, failure: Failure, again: bool) -> None:
        if not again:
            self._need()
            self._tell_end(ticket, "failed")
        assert self.progress is not None
        self.progress.failed(ticket.arm, ticket.short, failure, again)

    def _tell_end(self, ticket: Ticket, state: State) -> PlannedTrial:
        self.out.pop(ticket.identity, None)
        item = self._item(ticket, state)
        outcome = item.record.outcome
        if state != "cancelled":  # of these some have not begun
            # not another study's
            self.ran += outcome is None or outcome.study == self.study.instance
        end = trial_end(self.study, item)
        if end is not None and self.client is not None:
            self.client.finish_trial(ticket.identity, end)
        if self.note is not None:
            self.note.update(item)
        return item

    def _item(self, ticket: Ticket, state: State) -> PlannedTrial:
        """The trial as its files tell it now. The index would cost a transaction per trial."""
        known = self.trials[ticket.identity]
        trial = known.trial if isinstance(known, PlannedTrial) else known
        record = read_trial(self.study.home, ticket.identity)
        return PlannedTrial(trial, record, "run", state, ticket.outcome_number)

    # -- the end --------------------------------------------------------------------------------

    def _drain(self, interrupted: bool) -> dict[str, str]:
        if self.client is None:
            return {}
        if interrupted:  # what is left is published by the next run, or by status
            return {}
        with self._waiting(f"writing to {place_of(self.study.home)} …"):
            report = self.client.drain(FULL_DISK_LIMIT_S if self.full_disk else DRAIN_LIMIT_S)
            self.client.stop()
        return dict(report.left)

    def _release(self) -> None:
        """Ends the attempts whose workers went away with this run's Ray: they can be resumed."""
        deadline = time.monotonic() + RELEASE_LIMIT_S
        for ticket in self.out.values():
            tries = attempts(self.study.home.trial(ticket.identity))
            claim = tries[-1].claim() if tries else None
            if claim is None or claim.study != self.study.instance:
                continue
            while tries[-1].life() != "dead" and time.monotonic() < deadline:
                time.sleep(0.1)
            if tries[-1].life() == "dead":
                tries[-1].finish("cancelled" if self.cancel.asked else "preempted")


def listed_trials(plan: Plan) -> list[PlannedTrial]:
    """The missing trials, and those that another study's run works on, so that this one waits for
    them; each identity once. What SLURM's queue has is left to it."""
    first: dict[str, PlannedTrial] = {}
    for item in plan.trials:
        if item.action in ("run", "running") and item.job is None:
            first.setdefault(item.trial.identity, item)
    return list(first.values())
