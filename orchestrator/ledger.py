"""What is known of every trial, across studies: an index over the trials' files.

The files are the truth. The index saves reading them: a row is used only while the modification
time of the trial's folder is the one it was made at, and the whole of it can be rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.attempts import Attempt, attempts, latest_checkpoint, outcomes
from orchestrator.errors import DamagedFileError, IdentityMismatchError, OrreryError
from orchestrator.home import Home, publish_once
from orchestrator.identity import canonical_json, identity_of
from orchestrator.records import Failure, Outcome, State
from orchestrator.slurm_liveness import asked_together, unknown_text

INDEX_VERSION = 2
PLANNED: State = "planned"
IN_ONE_QUERY = 500


class TrialRecord(msgspec.Struct, frozen=True):
    """A trial as its files tell it. `outcome` is the highest one, `state` what follows from all."""

    identity: str
    state: State
    attempts: int = 0
    outcome: Outcome | None = None
    failure: Failure | None = None
    has_checkpoint: bool = False
    lost_in_a_row: int = 0
    """Attempts lost since the last one that brought a newer checkpoint."""

    @property
    def next_number(self) -> int:
        """The outcome number of a further attempt that is to replace what is known."""
        return 0 if self.outcome is None else self.outcome.number + 1


def read_trial(home: Home, identity: str) -> TrialRecord:
    """A trial's record, from its files alone. Raises `DamagedFileError`."""
    folder = home.trial(identity)
    tries = attempts(folder)
    published = outcomes(folder)
    outcome = published[-1] if published else None
    if outcome is not None:
        _check_identity(folder)
    last = tries[-1] if tries else None
    state: State = PLANNED
    failure = None
    if last is not None and not (outcome is not None and last.number <= outcome.attempt):
        state, failure = _how_it_stands(last)
    if outcome is not None and state != "running":
        state = "done"  # a further attempt that was lost takes nothing away
    return TrialRecord(
        identity,
        state,
        attempts=len(tries),
        outcome=outcome,
        failure=failure,
        has_checkpoint=latest_checkpoint(folder) is not None,
        lost_in_a_row=_lost_in_a_row(tries),
    )


def _check_identity(folder: Path) -> None:
    """What a result stands under has to be what its folder is named by.

    Raises `DamagedFileError` for an identity.json that is gone or broken, `IdentityMismatchError`
    for one that was edited.
    """
    path = folder / "identity.json"
    advice = "Move the folder away and run again; orrery ledger verify lists all such files."
    try:
        same = identity_of(json.loads(path.read_bytes())) == folder.name
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"'{path}' cannot be read ({error}). {advice}") from error
    if not same:
        raise IdentityMismatchError(
            f"'{path}' does not hash to its folder's name: it was edited. {advice}"
        )


def _how_it_stands(attempt: Attempt) -> tuple[State, Failure | None]:
    end = attempt.end()
    if end is not None:
        return end.state, end.failure
    life = attempt.life()
    if life == "dead":
        told = attempt.told()
        lost = None if told else Failure("node_lost", "its process ended without a word")
        return "preempted", lost
    if life == "unknown" and (claim := attempt.claim()) is not None:
        return "running", Failure("unknown", unknown_text(claim.process.slurm_job or ""))
    return "running", None


def _lost_in_a_row(tries: Iterable[Attempt]) -> int:
    count, best = 0, None
    for attempt in tries:
        end = attempt.end()
        lost = end is not None and end.failure is not None and end.failure.kind == "node_lost"
        step = end.checkpoint_step if end is not None else None
        newer = step is not None and (best is None or step > best)
        best = step if newer else best
        if end is not None and end.told:  # is no loss, but may be progress
            count = 0 if newer else count
        elif end is None or not lost or end.state == "failed":  # given up: a retry starts anew
            count = 0
        else:
            count = 1 if newer else count + 1
    return count


def told_in_a_row(home: Home, identity: str) -> int:
    """How often a trial was told to leave since it last brought a newer checkpoint."""
    count, best = 0, None
    for attempt in attempts(home.trial(identity)):
        end = attempt.end()
        step = end.checkpoint_step if end is not None else None
        newer = step is not None and (best is None or step > best)
        best = step if newer else best
        if newer or end is None or end.state == "failed":
            count = 0
        elif end.told:
            count += end.state == "preempted"
    return count


def record_identity(home: Home, identity: str, document: dict[str, Any]) -> None:
    """Writes identity.json, or compares it field by field with what is there.

    Raises `IdentityMismatchError` naming the first field that differs, `DamagedFileError` if it
    cannot be read.
    """
    folder = home.trial(identity)
    path = folder / "identity.json"
    content = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size == 0:  # a power cut: it is written again
        path.unlink(missing_ok=True)
    if path.exists() or not publish_once(path, content.encode(), durable=False):
        try:
            there = json.loads(path.read_bytes())
        except ValueError as error:
            raise DamagedFileError(
                f"'{path}' cannot be read ({error}). Move the folder away and run again."
            ) from error
        if there != json.loads(content):
            raise IdentityMismatchError(
                f"'{path}' differs from the trial of that identity at "
                f"{_first_difference(there, document)}. The file was edited, or two trials "
                "share a hash: move the folder away and run again."
            )


def _first_difference(left: Any, right: Any, at: str = "") -> str:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                return _first_difference(left.get(key), right.get(key), f"{at}.{key}".strip("."))
    return f"'{at}' ({left!r} there, {right!r} asked for)"


@dataclass
class Ledger:
    """The index of a home. Every method works without the index file, only slower."""

    home: Home

    def records(self, identities: Iterable[str]) -> dict[str, TrialRecord]:
        """The record of each trial: from the index where that is current, else from the files."""
        wanted = list(dict.fromkeys(identities))
        present = self.home.identities()
        found: dict[str, TrialRecord] = {}
        fresh: list[tuple[str, str, TrialRecord]] = []
        indexed = self._indexed([identity for identity in wanted if identity in present])
        unheard: list[str] = []
        with asked_together() as queue:
            for identity in wanted:
                if identity not in present:
                    found[identity] = TrialRecord(identity, PLANNED)
                    continue
                known = self._current(identity, indexed.get(identity))
                if known is not None:
                    found[identity] = known
                    continue
                before = self._folder_stamp(identity)
                record = found[identity] = read_trial(self.home, identity)
                if record.state == "done":
                    fresh.append((identity, self._stamp(before, record), record))
                elif record.failure is not None and record.state == "running":
                    unheard.append(identity)
        queue.ask()
        found.update({identity: read_trial(self.home, identity) for identity in unheard})
        self._store(fresh)
        return found

    def rebuild(self) -> int:
        """Makes the index anew from the files; the number of finished trials in it."""
        for name in ("", "-wal", "-shm"):
            Path(f"{self.home.ledger}{name}").unlink(missing_ok=True)
        done = 0
        for identity in sorted(self.home.identities()):
            with suppress(OrreryError):  # a damaged file is for `verify` to tell
                done += self.records([identity])[identity].state == "done"
        return done

    def verify(self) -> Iterator[str]:
        """One line for each file that is not what it should be, or that the index has wrong."""
        folders = sorted(self.home.identities())
        indexed = self._indexed(folders)
        for identity in folders:
            yield from self._verify_trial(identity, indexed.get(identity))
        for identity in sorted(self._all_indexed() - set(folders)):
            yield f"{identity}: in the index, but its folder is gone (orrery ledger rebuild)"
        from orchestrator.evaluation.store import verify_points

        yield from verify_points(self.home)

    def _verify_trial(self, identity: str, row: tuple[str, bytes] | None) -> Iterator[str]:
        folder = self.home.trial(identity)
        try:
            _check_identity(folder)
            record = read_trial(self.home, identity)
        except OrreryError as error:
            yield f"{identity}: {error}"
            return
        outcome = record.outcome
        if outcome is not None and outcome.scores:
            from orchestrator.score_files import why_unreadable

            if why := why_unreadable(folder / outcome.scores, outcome.scores_digest):
                yield f"{identity}: {outcome.scores} of outcome {outcome.number} {why}"
        known = self._current(identity, row)
        if known is not None and known != record:
            yield f"{identity}: the index differs from the files (orrery ledger rebuild)"

    def _current(self, identity: str, row: tuple[str, bytes] | None) -> TrialRecord | None:
        """The record of an index row, if the files are those it was made from."""
        folder_stamp = self._folder_stamp(identity)
        if row is None or not row[0].startswith(folder_stamp):
            return None
        record = msgspec.json.decode(row[1], type=TrialRecord)
        return record if row[0] == self._stamp(folder_stamp, record) else None

    def _folder_stamp(self, identity: str) -> str:
        return f"{os.stat(f'{self.home.trials}/{identity}').st_mtime_ns}/"

    def _stamp(self, folder_stamp: str, record: TrialRecord) -> str:
        """Tells a change of the folder's entries, and of the two files that a result stands in."""
        names = ["identity.json"]
        if record.outcome is not None:
            names.append(f"outcome-{record.outcome.number:04d}.json")
        parts = []
        for name in names:
            try:
                status = os.stat(f"{self.home.trials}/{record.identity}/{name}")
                parts.append(f"{status.st_mtime_ns}:{status.st_size}")
            except FileNotFoundError:
                parts.append("gone")
        return folder_stamp + "/".join(parts)

    def _indexed(self, identities: list[str]) -> dict[str, tuple[str, bytes]]:
        rows: dict[str, tuple[str, bytes]] = {}
        with suppress(sqlite3.DatabaseError), self._index() as index:
            for start in range(0, len(identities), IN_ONE_QUERY):
                part = identities[start : start + IN_ONE_QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT identity, stamp, record FROM trials WHERE identity IN ({marks})"
                rows.update({row[0]: (row[1], row[2]) for row in index.execute(query, part)})
        return rows

    def _all_indexed(self) -> set[str]:
        with suppress(sqlite3.DatabaseError), self._index() as index:
            return {row[0] for row in index.execute("SELECT identity FROM trials")}
        return set()

    def _store(self, rows: list[tuple[str, str, TrialRecord]]) -> None:
        if not rows:
            return
        encoded = [(identity, stamp, msgspec.json.encode(r)) for identity, stamp, r in rows]
        with suppress(sqlite3.DatabaseError), self._index() as index:
            index.executemany("INSERT OR REPLACE INTO trials VALUES (?, ?, ?)", encoded)

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index in a transaction. Its callers pass over an sqlite error: the files suffice."""
        connection = self._open()
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        """The index; one of another version, or that is no database, is made again. Where there
        are no trials, nothing is made: whoever only looks into a folder leaves nothing in it."""
        if not self.home.trials.is_dir():
            raise sqlite3.OperationalError(f"'{self.home.trials}' is not there")
        connection = sqlite3.connect(self.home.ledger, timeout=10)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError:
            connection.close()
            self.home.ledger.unlink(missing_ok=True)
            connection = sqlite3.connect(self.home.ledger, timeout=10)
            version = 0
        if version != INDEX_VERSION:
            with connection:
                connection.execute("DROP TABLE IF EXISTS trials")
                connection.execute(
                    "CREATE TABLE trials (identity TEXT PRIMARY KEY, stamp TEXT, record BLOB)"
                )
                connection.execute(f"PRAGMA user_version = {INDEX_VERSION}")
        return connection


def short_hash(value: Any, digits: int = 10) -> str:
    """Hash of plain data, for names of things that are no trials (study instances)."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]
