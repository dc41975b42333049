"""The collector: one writer for all ranks of a study. It folds spools and feeds the sink.

A push only says that a spool has grown; the events are read from files. So pushes never wait for a
sink, nothing is held for an absent one, and a collector that died misses nothing. `Collector` is a
plain class; `telemetry.ray_collector` runs it as an actor.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from telemetry.emitter import Push, Wake
from telemetry.filesystem import BusyError, locked
from telemetry.journal import Entry, Journal
from telemetry.parquet import archive_events
from telemetry.publication import LOCK_NAME, TrialPublication, publish_parent
from telemetry.runs import StudyRun, TrialEnd, TrialRun
from telemetry.sinks.protocol import Sink, SinkError, SinkUnavailableError
from telemetry.sinks.retrying import RetryingSink

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectorCounters:
    """What a collector has seen and done since it (re)started."""

    pushes: int = 0
    events: int = 0
    unreadable: int = 0
    """Spool lines that were no event."""
    rows: int = 0
    """Rows that the sink accepted."""
    trials_open: int = 0
    trials_complete: int = 0
    archived: int = 0
    refused: int = 0
    """Writes that the sink refused for good."""
    absences: int = 0
    """Tries that found the sink absent."""
    restarts: int = 0
    silent_ranks: int = 0
    """Ranks of open trials that kept a step beyond its time and have not reported since."""


@dataclass(frozen=True)
class DrainReport:
    """What `drain` left behind: identity -> why. Empty: the sink has all that was registered."""

    left: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    counters: CollectorCounters = field(default_factory=CollectorCounters)


class Collector:
    """Publishes one study through `sink` on a thread of its own, every `interval_s`.

    `journal`: a file in which registrations are kept, so that a new collector with the same
    journal takes over. `settle_s`: how long a trial may run before its run is made; a shorter one
    is written in one go when it ends. `poll_s`: how often spools are looked at without a push.
    `archive`: the events of an ended trial go into Parquet. Methods may be called from any thread,
    in any order, and more than once.
    """

    def __init__(
        self,
        sink: Sink,
        study: StudyRun,
        *,
        journal: str | None = None,
        interval_s: float = 1.0,
        settle_s: float = 2.0,
        poll_s: float = 5.0,
        archive: bool = True,
        nice: int = 0,
    ) -> None:
        if nice:
            os.nice(nice)
        self._sink = sink if isinstance(sink, RetryingSink) else RetryingSink(sink)
        self._study = study
        self._study_artifacts: Path | None = None
        self._interval_s, self._settle_s, self._poll_s = interval_s, settle_s, poll_s
        self._archive = archive
        self._journal = Journal(journal)
        self._lock = threading.Lock()
        self._trials: dict[str, TrialRun] = {}
        self._registered: dict[str, float] = {}
        self._ends: dict[str, TrialEnd] = {}
        self._dirty: dict[str, None] = {}
        self._study_dirty = True
        self._left: dict[str, str] = {}
        self._publications: dict[str, TrialPublication] = {}
        self._to_archive: list[tuple[TrialRun, TrialEnd]] = []
        self._store: str | None = None
        self._absence = ""
        self._pushes = self._rows = self._refused = self._complete = self._archived = 0
        self._events = self._unreadable = self._restarts = 0
        self._polled = time.monotonic()
        self._draining = False
        self._wake, self._stop, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._replay()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self._thread.start()

    # -- what it is told ------------------------------------------------------------------------

    def ping(self) -> int:
        """The process id; answers once the collector is up."""
        return os.getpid()

    def register_trial(self, trial: TrialRun) -> None:
        """A trial of the study starts, goes on (another attempt), or is reused.

        Wake-ups name it by its `identity`, so that is what its emitters must be given.
        """
        self._journal.add(Entry(trial=trial))
        self._take_trial(trial)

    def finish_trial(self, identity: str, end: TrialEnd) -> None:
        """The study is through with a trial: its emitters are closed, its outcome is on file."""
        self._journal.add(Entry(identity=identity, end=end))
        self._take_end(identity, end)

    def update_study(self, study: StudyRun, artifacts: str | None = None) -> None:
        """New note, tags or state of the study's run; `artifacts` is a folder to copy to it."""
        self._journal.add(Entry(study=study, artifacts=artifacts))
        self._take_study(study, artifacts)

    def new_push(self) -> Push:
        """What an emitter in this process is given as its `push`."""
        return self.push

    def push(self, wake: Wake) -> int:
        """A spool has grown; acknowledges with the sequence number it was told."""
        with self._lock:
            self._pushes += 1
            if wake.trial in self._trials:
                self._dirty[wake.trial] = None
        return wake.last_seq

    def drain(self, timeout_s: float = 60.0) -> DrainReport:
        """Publishes all there is, waiting for it up to `timeout_s`; tells what is left, and why."""
        start = time.monotonic()
        with self._lock:
            self._draining = True
            self._dirty.update(dict.fromkeys(self._trials))
            self._left.clear()
            self._idle.clear()
        self._wake.set()
        self._idle.wait(timeout_s)
        with self._lock:
            self._draining = False
            waiting = self._waiting() | (self._ends.keys() & self._trials.keys())
            why = self._absence or "not written yet"
            left = {identity: self._left.get(identity, why) for identity in sorted(waiting)}
            if self._study_dirty:
                left[self._study.instance] = self._left.get(self._study.instance, why)
        if not left and not self._trials:
            self._journal.remove()
        return DrainReport(left, time.monotonic() - start, self.counters())

    def counters(self) -> CollectorCounters:
        """What was seen and done so far."""
        with self._lock:
            publications = list(self._publications.values())
            return CollectorCounters(
                pushes=self._pushes,
                events=self._events + sum(p.fold.events for p in publications),
                unreadable=self._unreadable + sum(p.fold.unreadable for p in publications),
                rows=self._rows,
                trials_open=len(self._trials),
                trials_complete=self._complete,
                archived=self._archived,
                refused=self._refused,
                absences=self._sink.absences,
                restarts=self._restarts,
                silent_ranks=sum(p.fold.silent for p in publications),
            )

    def stop(self) -> None:
        """Ends the writer thread after its current write; files keep what was not published."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=30.0)

    # -- the journal ----------------------------------------------------------------------------

    def _replay(self) -> None:
        for entry in self._journal.entries():
            self._restarts = 1
            if entry.study is not None:
                self._take_study(entry.study, entry.artifacts)
            if entry.trial is not None:
                self._take_trial(entry.trial)
            if entry.identity is not None and entry.end is not None:
                self._take_end(entry.identity, entry.end)

    def _take_study(self, study: StudyRun, artifacts: str | None) -> None:
        with self._lock:
            self._study, self._study_dirty = study, True
            if artifacts is not None:
                self._study_artifacts = Path(artifacts)
        if self._draining or study.state != "running":
            self._wake.set()

    def _take_trial(self, trial: TrialRun) -> None:
        with self._lock:
            before = self._trials.get(trial.identity)
            if before is not None and before != trial:
                self._ends.pop(trial.identity, None)  # it had ended, and goes on
            self._trials[trial.identity] = trial
            self._registered.setdefault(trial.identity, time.monotonic())
            self._dirty[trial.identity] = None

    def _take_end(self, identity: str, end: TrialEnd) -> None:
        with self._lock:
            self._ends[identity] = end
            self._dirty[identity] = None

    # -- the writer thread ----------------------------------------------------------------------

    def _run(self) -> None:
        with ExitStack() as held:
            if not self._hold_study(held):
                return
            while not self._stop.is_set():
                try:
                    worked = self._round()
                except Exception:
                    logger.exception("the collector goes on after an error of its own")
                    worked = False
                if not worked:
                    self._wake.wait(0.1 if self._draining else self._interval_s)
                    self._wake.clear()

    def _hold_study(self, held: ExitStack) -> bool:
        """Waits until no other process publishes this study; False if stopped meanwhile."""
        folder = self._study.folder
        if folder is None:
            return True
        while not self._stop.is_set():
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(Path(folder, LOCK_NAME), wait=False))
                return True
            except BusyError:
                time.sleep(0.1)
            except OSError as error:
                logger.warning("can't lock %s, publishing without: %s", folder, error)
                return True
        return False

    def _round(self) -> bool:
        """One pass over what is due; True if something was written, so another may follow."""
        due = self._due()
        available = self._open_store()
        wrote = False
        for identity in due:
            if self._stop.is_set():
                break
            available = self._publish(identity, available) and available
            wrote = wrote or available
        wrote = self._archive_one(idle=not due) or wrote
        with self._lock:
            refused = self._left.keys() >= self._waiting() and available
            written = refused and not (self._study_dirty and self._study.instance not in self._left)
            if self._draining and written and not self._to_archive:
                self._idle.set()
        return wrote and bool(due)

    def _waiting(self) -> set[str]:
        """The trials of which something is to be written. The lock is held."""
        return self._dirty.keys() & self._trials.keys()

    def _due(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            if now - self._polled > self._poll_s:
                self._polled = now
                self._dirty.update(dict.fromkeys(self._trials))
            return [
                identity
                for identity in self._dirty
                if identity in self._trials
                and not (self._draining and identity in self._left)
                and (
                    self._draining
                    or identity in self._ends
                    or now - self._registered[identity] >= self._settle_s
                )
            ]

    def _open_store(self) -> bool:
        """Makes the store ready and the study's run current; False while the sink is absent."""
        try:
            if self._store is None:
                self._sink.prepare()
                self._store = self._sink.store_id()
            if self._study_dirty:
                with self._lock:
                    study, artifacts, self._study_dirty = self._study, self._study_artifacts, False
                try:
                    publish_parent(study, self._store, self._sink, artifacts)
                except BaseException:
                    self._study_dirty = True
                    raise
        except SinkUnavailableError as error:
            self._absence = f"the sink is absent: {error}"
            return False
        except SinkError as error:
            self._count_refusal(self._study.instance, error)
            return self._store is not None
        self._absence = ""
        return True

    def _publish(self, identity: str, available: bool) -> bool:
        """Folds one trial and, if the sink is there, writes it; False if it turned out absent."""
        with self._lock:
            trial, end = self._trials[identity], self._ends.get(identity)
            if available:
                self._dirty.pop(identity, None)
        publication = self._publications.get(identity)
        if publication is None or publication.store != (self._store or ""):
            publication = TrialPublication(self._study, trial, self._store or "")
            with self._lock:
                self._publications[identity] = publication
        publication.trial, publication.end = trial, end
        try:
            publication.gather()
            if not available:
                return False
            rows = publication.write(self._sink)
        except SinkUnavailableError as error:
            self._absence = f"the sink is absent: {error}"
            self._again(identity)
            return False
        except Exception as error:  # one trial's trouble is not the others'
            self._count_refusal(identity, error)
            self._again(identity)
            return True
        with self._lock:
            self._rows += rows
            self._left.pop(identity, None)
            if publication.complete and end is not None:
                self._forget(publication, end)
        return True

    def _again(self, identity: str) -> None:
        with self._lock:
            self._dirty[identity] = None

    def _count_refusal(self, identity: str, error: Exception) -> None:
        with self._lock:
            self._refused += 1
            known = identity in self._left
            self._left[identity] = str(error)
        if not known:
            logger.warning("telemetry of %s could not be written: %s", identity, error)

    def _forget(self, publication: TrialPublication, end: TrialEnd) -> None:
        """Lets go of a trial that is published whole. The lock is held."""
        identity = publication.trial.identity
        if self._ends.get(identity) is not end:
            return  # it went on meanwhile
        for table in (self._trials, self._ends, self._registered, self._publications, self._dirty):
            table.pop(identity, None)
        self._complete += 1
        self._events += publication.fold.events
        self._unreadable += publication.fold.unreadable
        if self._archive and not publication.trial.reused:
            self._to_archive.append((publication.trial, end))

    def _archive_one(self, *, idle: bool) -> bool:
        """Puts the events of ended trials into Parquet while nothing else is to do."""
        worked = False
        for trial, end in self._take_archive(idle):
            try:
                archive_events(trial.path, remove_spools=end.state == "done")
                self._archived += 1
            except Exception as error:  # spools stay; `gc` or the next publish tries again
                logger.warning("events of %s stay in their spools: %s", trial.identity, error)
            worked = True
        return worked

    def _take_archive(self, idle: bool) -> Iterator[tuple[TrialRun, TrialEnd]]:
        while idle:
            with self._lock:
                if not self._to_archive:
                    return
                taken = self._to_archive.pop(0)
            yield taken
            idle = not self._dirty or self._draining
