"""Brings what stands in the files of a trial into a sink, and notes how far that has come.

``<trial>/published-<hash>.json`` says, for one store and one study instance, up to which byte of
the row log rows were accepted. It only saves work: without it every row is sent again, verbatim,
and the store is none the worse. It is void once the store was made anew (`Sink.store_id`).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from telemetry.filesystem import BusyError, locked, replace
from telemetry.fold import TrialFold
from telemetry.parquet import EVENTS_NAME
from telemetry.rowlog import Row
from telemetry.runs import ROWS_TAG, StudyRun, TrialEnd, TrialRun, figure_rows, series_rows
from telemetry.sinks.protocol import RunGoneError, Sink, SinkError, SinkUnavailableError

logger = logging.getLogger(__name__)

_FINAL = frozenset({"done", "failed", "cancelled", "pruned"})
LOCK_NAME = "publish.lock"
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors of a folder that may be read and not written."""


class Cursor(msgspec.Struct, omit_defaults=True):
    """How far one trial (or study) was published to one store for one study instance."""

    store: str
    instance: str
    run_id: str = ""
    rows_bytes: int = 0
    ended: str | None = None
    """`TrialEnd.mark` of the end that was written; for a study, a digest of what was written."""
    reused: bool = False
    log: str = ""
    """The row log in which `rows_bytes` counts: its `RowLog.generation`."""
    v: int = 1


def _cursor_path(folder: Path, store: str, instance: str) -> Path:
    return folder / _cursor_name(store, instance)


def _cursor_name(store: str, instance: str) -> str:
    digest = hashlib.sha256(f"{store}\n{instance}".encode()).hexdigest()[:12]
    return f"published-{digest}.json"


def _read_cursor(folder: Path, store: str, instance: str) -> Cursor | None:
    cursor = _decode_cursor(_cursor_path(folder, store, instance))
    return cursor if cursor and (cursor.store, cursor.instance) == (store, instance) else None


def _decode_cursor(path: Path | str) -> Cursor | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Cursor)
    except (OSError, msgspec.MsgspecError):
        return None


def _write_cursor(folder: Path, cursor: Cursor) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace(_cursor_path(folder, cursor.store, cursor.instance), msgspec.json.encode(cursor))
    except OSError as error:  # it only saves work
        logger.warning("can't note how far %s was published: %s", folder, error)


def summary_rows(end: TrialEnd) -> list[Row]:
    """`final/…` and `best/…` rows of a trial's end, at the step of its outcome's number; with them
    the figures of its model (`figure_rows`) and their series."""
    named = [(f"final/{key}", value) for key, value in end.final.items()]
    named += [(f"best/{key}", value) for key, value in end.best.items()]
    rows = [
        Row(key, end.outcome, end.ended_ms, float(value))
        for key, value in named
        if value is not None
    ]
    rows += series_rows(end.series, end.figures_ms)
    return rows + figure_rows(end.figures, end.figures_ms)


class TrialPublication:
    """One trial of one study on its way into one store. Not thread-safe."""

    def __init__(
        self, study: StudyRun, trial: TrialRun, store: str, *, afresh: bool = False
    ) -> None:
        """`afresh`: what was noted does not count, and everything is sent again."""
        self.study, self.trial, self.store = study, trial, store
        self.end: TrialEnd | None = None
        self.fold = TrialFold(trial.folder)
        found = None if afresh else _read_cursor(trial.path, store, study.instance)
        self.cursor = found or self._new_cursor()
        self._keep_to_the_log()

    @property
    def complete(self) -> bool:
        """The trial has ended, and the store has all of it."""
        return self.end is not None and self.cursor.ended == self.end.mark

    def _new_cursor(self) -> Cursor:
        return Cursor(self.store, self.study.instance, reused=self.trial.reused)

    def _keep_to_the_log(self) -> None:
        """Begins again at the first row if the log is not the one that was sent from."""
        log = self.fold.log
        generation = log.generation()
        shorter = log.path.exists() and log.size() < self.cursor.rows_bytes
        if not self.trial.reused and (shorter or generation != self.cursor.log):
            run_id = self.cursor.run_id
            self.cursor = self._new_cursor()
            self.cursor.run_id, self.cursor.log = run_id, generation

    def gather(self) -> int:
        """Folds the spools into the row log, the end's rows with them; gives how many were new.

        Raises `OSError` if the row log can't be written.
        """
        if self.trial.reused or self.complete:
            return 0
        ended = self.end is not None and self.end.state in _FINAL
        count = 0
        try:
            count += self._rebuild()
            count += self.fold.fold_all(ended=ended)
            if self.end is not None:
                count += len(self.fold.log.append(summary_rows(self.end)))
        except OSError as error:
            if error.errno not in READ_ONLY or not self.fold.log.path.exists():
                raise
            logger.warning("%s is only read: its rows are those that were logged", self.trial.path)
        return count

    def _rebuild(self) -> int:
        """Rows from archived events, if the row log is gone: their spools are gone too."""
        log = self.fold.log.path
        if log.exists() or not log.with_name(EVENTS_NAME).exists():
            return 0
        from telemetry.rebuilding import rebuild_rows

        return rebuild_rows(self.trial.path)

    def write(self, sink: Sink) -> int:
        """Sends what the store does not have yet; gives the number of rows.

        Raises `SinkError`, or `SinkUnavailableError` if it is to be tried again.
        """
        self._keep_to_the_log()
        if self.complete:
            return 0
        try:
            return self._write(sink)
        except RunGoneError:
            self.cursor = self._new_cursor()
            self._keep_to_the_log()
            return self._write(sink)

    def _write(self, sink: Sink) -> int:
        if self.trial.reused:
            rows = summary_rows(self.end) if self.end is not None else []
            self._send(sink, self._linked(), rows, self.end, 0)
            return len(rows)
        sent, trial = 0, self._marked()
        while True:
            rows, offset = self.fold.log.read(self.cursor.rows_bytes)
            last = not rows or self.fold.log.read(offset, 1 << 16)[1] == offset
            self._send(sink, trial, rows, self.end if last else None, offset)
            sent += len(rows)
            if last:
                return sent

    def _send(
        self, sink: Sink, trial: TrialRun, rows: Sequence[Row], end: TrialEnd | None, offset: int
    ) -> None:
        run_id = sink.write_trial(self.study, trial, rows, end)
        if self.cursor.rows_bytes and run_id != self.cursor.run_id:
            raise RunGoneError(f"run {self.cursor.run_id} is gone; {run_id} lacks its first rows")
        self.cursor.run_id = run_id
        self.cursor.rows_bytes = offset
        self.cursor.ended = None if end is None else end.mark
        _write_cursor(self.trial.path, self.cursor)

    def _marked(self) -> TrialRun:
        """The trial with the mark of its row log, if that was made anew."""
        from telemetry.rebuilding import rebuilt_mark

        mark = rebuilt_mark(self.trial.path)
        if mark is None:
            return self.trial
        return msgspec.structs.replace(self.trial, tags={**self.trial.tags, ROWS_TAG: mark})

    def _linked(self) -> TrialRun:
        """The reused trial with the run that measured it, if this store is known to have one."""
        for path in sorted(self.trial.path.glob("published-*.json")):
            other = _decode_cursor(path)
            if other and other.store == self.store and other.run_id and not other.reused:
                tags = {**self.trial.tags, "owner_run": other.run_id}
                owner = self.trial.owner or other.instance
                return msgspec.structs.replace(self.trial, tags=tags, owner=owner)
        return self.trial


@dataclass(frozen=True)
class PublishReport:
    """What `publish_study` did. `left` names what could not be written, and why."""

    rows: int = 0
    written: int = 0
    """Trials that were written to."""
    complete: int = 0
    """Trials that the store already had whole."""
    left: dict[str, str] = field(default_factory=dict)
    busy: bool = False
    """Another process is publishing this study; nothing was done."""


def run_ids(study: StudyRun, trials: Iterable[TrialRun], sink: Sink) -> dict[str, str]:
    """Identity -> run id of the trials that were published to the sink's store, from files."""
    return run_ids_in(study.instance, {t.identity: t.folder for t in trials}, sink)


def run_ids_in(instance: str, folders: Mapping[str, str], sink: Sink) -> dict[str, str]:
    """As `run_ids`, of a study instance and its trials' folders by identity."""
    store = sink.store_id()
    name = _cursor_name(store, instance)
    found = {}
    for identity, folder in folders.items():
        cursor = _decode_cursor(f"{folder}/{name}")
        if cursor and (cursor.store, cursor.instance) == (store, instance) and cursor.run_id:
            found[identity] = cursor.run_id
    return found


def study_run_id(study: StudyRun, sink: Sink) -> str | None:
    """The run id of the study's own run in the sink's store, from files; None if it has none."""
    if study.folder is None:
        return None
    cursor = _read_cursor(Path(study.folder), sink.store_id(), study.instance)
    return cursor.run_id or None if cursor is not None else None


def publish_study(
    study: StudyRun,
    trials: Iterable[tuple[TrialRun, TrialEnd | None]],
    sink: Sink,
    *,
    artifacts: Path | None = None,
    archive: bool = False,
    afresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PublishReport:
    """Brings the sink to the state of the files, without Ray; doing it twice adds nothing.

    `artifacts` is a folder for the study's own run. `archive` also puts the events of ended trials
    into Parquet. Where all is published already, nothing is opened and nothing heavy imported;
    `afresh` sends it all again even so. `progress` is told how many of how many trials are through.
    Raises nothing for an absent or refusing sink: see the report.
    """
    with ExitStack() as stack:
        if study.folder is not None:
            Path(study.folder).mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(Path(study.folder, LOCK_NAME), wait=False))
            except BusyError:
                return PublishReport(busy=True)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                logger.warning("%s is only read: published without a lock", study.folder)
        return _publish(study, list(trials), sink, artifacts, archive, afresh, progress)


def _publish(
    study: StudyRun,
    trials: list[tuple[TrialRun, TrialEnd | None]],
    sink: Sink,
    artifacts: Path | None,
    archive: bool,
    afresh: bool,
    progress: Callable[[int, int], None] | None,
) -> PublishReport:
    from telemetry.parquet import archive_events

    try:
        store = sink.store_id()
        publications = _open(study, trials, store, afresh)
        todo = [publication for publication in publications if not publication.complete]
        if todo or afresh or not study_is_published(study, store, artifacts):
            sink.prepare()
            if (now := sink.store_id()) != store:
                store, publications = now, _open(study, trials, now, afresh)
                todo = [publication for publication in publications if not publication.complete]
            publish_parent(study, store, sink, artifacts, afresh=afresh)
    except SinkError as error:
        for trial, end in trials:  # the row log does not need the sink
            TrialFold(trial.folder).fold_all(ended=end is not None and end.state in _FINAL)
        names = [study.instance, *(trial.identity for trial, _ in trials)]
        return PublishReport(left=dict.fromkeys(names, str(error)))
    rows = written = 0
    left: dict[str, str] = {}
    absent: SinkUnavailableError | None = None
    for place, publication in enumerate(todo, start=1):
        if progress is not None:
            progress(place, len(todo))
        identity = publication.trial.identity
        try:
            publication.gather()
            if absent is not None:
                raise absent
            rows += publication.write(sink)
            written += 1
        except (SinkError, OSError) as error:
            absent = error if isinstance(error, SinkUnavailableError) else absent
            left[identity] = str(error)
            continue
        if archive and publication.end is not None and not publication.trial.reused:
            try:
                archive_events(
                    publication.trial.path, remove_spools=publication.end.state == "done"
                )
            except OSError as error:  # the spools stay
                logger.warning("events of %s stay in their spools: %s", identity, error)
    return PublishReport(rows, written, len(publications) - len(todo), left)


def _open(
    study: StudyRun, trials: list[tuple[TrialRun, TrialEnd | None]], store: str, afresh: bool
) -> list[TrialPublication]:
    publications = []
    for trial, end in trials:
        publication = TrialPublication(study, trial, store, afresh=afresh)
        publication.end = end
        publications.append(publication)
    return publications


def study_is_published(study: StudyRun, store: str, artifacts: Path | None = None) -> bool:
    """True if the store is noted to have this state of the study's own run."""
    if study.folder is None:
        return False
    cursor = _read_cursor(Path(study.folder), store, study.instance)
    return cursor is not None and cursor.ended == _digest(study, artifacts)


def publish_parent(
    study: StudyRun,
    store: str,
    sink: Sink,
    artifacts: Path | None = None,
    *,
    afresh: bool = False,
) -> None:
    """Writes the study's own run and its artifacts, unless the store is noted to have them."""
    if not afresh and study_is_published(study, store, artifacts):
        return
    run_id = sink.write_study(study)
    if artifacts is not None and artifacts.is_dir() and any(artifacts.iterdir()):
        sink.log_artifacts(study, artifacts)
    if study.folder is not None:
        digest = _digest(study, artifacts)
        _write_cursor(Path(study.folder), Cursor(store, study.instance, run_id, ended=digest))


def _digest(study: StudyRun, artifacts: Path | None) -> str:
    parts = [msgspec.json.encode(study, order="sorted")]
    if artifacts is not None:
        for path in sorted(artifacts.rglob("*")):
            status = os.stat(path)
            parts.append(f"{path}:{status.st_size}:{status.st_mtime_ns}".encode())
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]
